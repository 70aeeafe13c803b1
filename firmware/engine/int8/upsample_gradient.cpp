#include "engine/int8/upsample_gradient.hpp"

#include "engine/int8/gradient_sums.hpp"

namespace ftte::int8 {
namespace {

// How many of the `factor` copies of input `i` the output has.
constexpr int32_t copies(int32_t i, int32_t factor, int32_t outputs) {
  const int32_t left = outputs - i * factor;
  return left < factor ? (left < 0 ? 0 : left) : factor;
}

}  // namespace

int32_t upsample_gradient(Sgd& sgd, const UpsampleShape& shape, const int8_t* gy, int32_t gy_exponent,
                          const uint8_t* gate, uint32_t* peak, int8_t* gx) {
  const UpsampleShape s = shape;
  GradientStore store(sgd, gate, *peak, gx);
  for (int32_t iy = 0; iy < s.in_h; ++iy) {
    const int32_t rows = copies(iy, s.factor, s.out_h);
    for (int32_t ix = 0; ix < s.in_w; ++ix) {
      const int32_t columns = copies(ix, s.factor, s.out_w);
      const int8_t* const first = gy + (iy * s.out_w + ix) * s.factor * s.channels;
      store_sums(store, s.channels, [&](auto width, int32_t c, int32_t* sums) {
        int32_t sum[width] = {};
        for (int32_t row = 0; row < rows; ++row) {
          const int8_t* g = first + row * s.out_w * s.channels + c;
          for (int32_t column = 0; column < columns; ++column, g += s.channels) {
            unrolled<width>([&](int32_t j) { sum[j] += g[j]; });
          }
        }
        unrolled<width>([&](int32_t j) { sums[j] = sum[j]; });
      });
    }
  }
  return gy_exponent - store.finish(sgd, peak);
}

}  // namespace ftte::int8
