#include "engine/int8/fast/add_gradients.hpp"

#include "engine/int8/fast/gradient_store.hpp"

namespace ftte::int8::fast {

#ifdef FTTE_BLOCKS

namespace {

constexpr int32_t kGuardBits = 8;  // add_gradients.hpp

// Brings values from one exponent to another, at most kGuardBits finer; one of the two shifts is 0.
struct Alignment {
  int32_t factor, right;
  int32_t operator()(int32_t value) const { return round_shift(value * factor, right); }
};

Alignment alignment(int32_t from, int32_t to) {
  return {1 << clamp(to - from, 0, kGuardBits), clamp(from - to, 0, 30)};
}

[[gnu::noinline]] void add_aligned(const int8_t* a, Alignment align_a, const int8_t* b, Alignment align_b, int32_t n,
                                   int32_t* sums) {
  for (int32_t i = 0; i < n; ++i) sums[i] = align_a(a[i]) + align_b(b[i]);
}

}  // namespace

int32_t add_gradients(Sgd& sgd, int32_t n, const int8_t* a, int32_t a_exponent, const int8_t* b, int32_t b_exponent,
                      const uint8_t* gate, uint32_t* peak, int8_t* y) {
  if (n % 4 != 0) return int8::add_gradients(sgd, n, a, a_exponent, b, b_exponent, gate, peak, y);
  const int32_t exponent = at_most(a_exponent, b_exponent) + kGuardBits;
  const Alignment align_a = alignment(a_exponent, exponent);
  const Alignment align_b = alignment(b_exponent, exponent);
  Store store(sgd, gate, *peak, y);
  uint32_t random = store.first();
  for (int32_t first = 0; first < n; first += Store::kMost) {
    const int32_t count = n - first < Store::kMost ? n - first : Store::kMost;
    int32_t sums[Store::kMost];
    add_aligned(a + first, align_a, b + first, align_b, count, sums);
    random = store.put<2>(first, count, sums, random);
  }
  return exponent - store.finish(sgd, peak);
}

#else

int32_t add_gradients(Sgd& sgd, int32_t n, const int8_t* a, int32_t a_exponent, const int8_t* b, int32_t b_exponent,
                      const uint8_t* gate, uint32_t* peak, int8_t* y) {
  return int8::add_gradients(sgd, n, a, a_exponent, b, b_exponent, gate, peak, y);
}

#endif

}  // namespace ftte::int8::fast
