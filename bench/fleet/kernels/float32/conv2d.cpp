#include "engine/float32/conv2d.hpp"

#include "convolve.hpp"
#include "dense.hpp"

namespace ftte::float32 {

void conv2d(const Conv2dShape& shape, const float* x, const Weights<float>& weights, const float* bias, Range range,
            float* scratch, float* y) {
  static_cast<void>(scratch);
  const Bounds bounds(range);
  const int32_t out_c = shape.out_c;
  if (host::covers_input(shape) && host::in_one_part(shape, weights)) {
    host::products(x, shape.in_size(), host::whole(weights), out_c, bias, y);
    for (int32_t o = 0; o < out_c; ++o) y[o] = bounds.clamp(y[o]);
    return;
  }
  const host::Output<float> output{y, out_c, shape.out_size()};
  const auto take = [=](int32_t position, int32_t first, const float* sums, auto width, int32_t channels) {
    float values[width];
    for (int32_t c = 0; c < width; ++c) values[c] = bounds.clamp(sums[c]);
    output.put(position, first, values, channels);
  };
  host::convolve<float>(
      shape, x, weights, [=](int32_t channel) { return bias[channel]; }, take);
}

}  // namespace ftte::float32
