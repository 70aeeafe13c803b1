#include "engine/float32/conv2d.hpp"

#include "convolve.hpp"
#include "dense.hpp"

namespace ftte::float32 {

void conv2d(const Conv2dShape& shape, const float* x, const Weights<float>& weights, const float* bias, Range range,
            float* scratch, float* y) {
  static_cast<void>(scratch);
  const Bounds bounds(range);
  const int32_t out_c = shape.out_c;
  const int32_t size = shape.out_size();
  if (host::covers_input(shape) && host::in_one_part(shape, weights)) {
    host::products(x, shape.in_size(), host::whole(weights), out_c, bias, y);
    for (int32_t o = 0; o < out_c; ++o) y[o] = bounds.clamp(y[o]);
    return;
  }
  const auto take = [=](int32_t position, int32_t first, float* sums, auto width, int32_t channels) {
    for (int32_t c = 0; c < width; ++c) sums[c] = bounds.clamp(sums[c]);
    const int32_t at = position * out_c + first;
    // Where a block has all channels, what is written beyond them is the next position's, whose sums come after.
    if (channels == width || (channels == out_c && at + width <= size)) {
      std::memcpy(y + at, sums, sizeof(float) * width);
    } else {
      for (int32_t c = 0; c < channels; ++c) y[at + c] = sums[c];
    }
  };
  host::convolve<float>(
      shape, x, weights, [=](int32_t channel) { return bias[channel]; }, take);
}

}  // namespace ftte::float32
