#include "engine/int8/avg_pool_gradient.hpp"

#include "engine/int8/gradient_sums.hpp"

namespace ftte::int8 {
namespace {

constexpr int32_t kShareBits = 23;

// Of kWidth channels at one position; gy begins with the first. A function of its own for the sake of its registers.
template <int32_t kWidth>
[[gnu::noinline]] void sums_at(const PoolShape& s, const Reach& row, const Reach& column, const int8_t* gy,
                               int32_t share, int32_t* sums) {
  int32_t sum[kWidth] = {};
  for_reached(s, row, column, [&](int32_t tap, int32_t position) {
    static_cast<void>(tap);
    const int8_t* const g = gy + position * s.channels;
    unrolled<kWidth>([&](int32_t j) { sum[j] += g[j]; });
  });
  unrolled<kWidth>([&](int32_t j) { sums[j] = sum[j] * share; });
}

}  // namespace

int32_t avg_pool_gradient(Sgd& sgd, const PoolShape& shape, const int8_t* gy, int32_t gy_exponent, const uint8_t* gate,
                          uint32_t* peak, int8_t* gx) {
  const int32_t share = ((2 << kShareBits) / shape.taps() + 1) >> 1;  // one division a call
  GradientStore store(sgd, gate, *peak, gx);
  for_inputs(shape, [&](const Reach& row, const Reach& column) {
    store_sums(store, shape.channels,
               [&](auto width, int32_t c, int32_t* sums) { sums_at<width>(shape, row, column, gy + c, share, sums); });
  });
  return gy_exponent + kShareBits - store.finish(sgd, peak);
}

}  // namespace ftte::int8
