#include "engine/int8/add_gradients.hpp"

namespace ftte::int8 {
namespace {

constexpr int32_t kGuardBits = 8;

// Brings values from one exponent to another, at most kGuardBits finer; one of the two shifts is 0.
class Alignment {
 public:
  Alignment(int32_t from, int32_t to)
      : factor_(1 << clamp(to - from, 0, kGuardBits)), right_(clamp(from - to, 0, 30)) {}
  int32_t operator()(int32_t value) const { return round_shift(value * factor_, right_); }

 private:
  int32_t factor_;
  int32_t right_;
};

}  // namespace

int32_t add_gradients(Sgd& sgd, int32_t n, const int8_t* a, int32_t a_exponent, const int8_t* b, int32_t b_exponent,
                      const uint8_t* gate, uint32_t* peak, int8_t* y) {
  const int32_t exponent = at_most(a_exponent, b_exponent) + kGuardBits;
  const Alignment align_a(a_exponent, exponent);
  const Alignment align_b(b_exponent, exponent);
  GradientStore store(sgd, gate, *peak, y);
  for (int32_t i = 0; i < n; ++i) store.put(align_a(a[i]) + align_b(b[i]));
  return exponent - store.finish(sgd, peak);
}

}  // namespace ftte::int8
