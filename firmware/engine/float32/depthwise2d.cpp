#include "engine/float32/depthwise2d.hpp"

#include "engine/float32/dot.hpp"
#include "engine/float32/walk.hpp"

namespace ftte::float32 {

void depthwise2d(const Conv2dShape& shape, const float* x, const Weights<float>& weights, const float* bias,
                 Range range, float* y) {
  const int32_t channels = shape.in_c;
  const int32_t trained = weights.trained_in;
  const Bounds bounds(range);
  for_windows(shape, [&](int32_t position, int32_t origin, const Inside& inside) {
    const auto part = [&](const float* part_weights, int32_t first, int32_t count) {
      in_blocks(count, [&](auto width, int32_t i) {
        const int32_t channel = first + i;
        float sum[width];
        unrolled<width>([&](int32_t j) { sum[j] = bias[channel + j]; });
        for_tap_rows(shape, origin, inside, [&](int32_t tap, int32_t at, int32_t n) {
          multiply_elements<width>(x + at * channels + channel, channels, part_weights + tap * count + i, count, n,
                                   sum);
        });
        float* const out = y + position * channels + channel;
        unrolled<width>([&](int32_t j) { out[j] = bounds.clamp(sum[j]); });
      });
    };
    part(weights.trained, 0, trained);
    part(weights.frozen, trained, channels - trained);
  });
}

}  // namespace ftte::float32
