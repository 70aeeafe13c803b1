#include "engine/float32/conv2d.hpp"

#include "convolve.hpp"

namespace ftte::float32 {

void conv2d(const Conv2dShape& shape, const float* x, const Weights<float>& weights, const float* bias, Range range,
            float* scratch, float* y) {
  static_cast<void>(scratch);
  const Bounds bounds(range);
  const auto take = [&](int32_t position, int32_t first, float* sums, auto width, int32_t channels) {
    for (int32_t c = 0; c < width; ++c) sums[c] = bounds.clamp(sums[c]);
    float* const to = y + position * shape.out_c + first;
    if (channels == width) {
      std::memcpy(to, sums, sizeof(float) * width);
    } else {
      for (int32_t c = 0; c < channels; ++c) to[c] = sums[c];
    }
  };
  host::convolve<float>(
      shape, x, weights, [&](int32_t channel) { return bias[channel]; }, take);
}

}  // namespace ftte::float32
