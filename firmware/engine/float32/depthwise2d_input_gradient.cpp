#include "engine/float32/depthwise2d_input_gradient.hpp"

#include "engine/float32/dot.hpp"
#include "engine/float32/gate.hpp"
#include "engine/float32/walk.hpp"

namespace ftte::float32 {

void depthwise2d_input_gradient(const Conv2dShape& shape, const float* gy, const Weights<float>& weights,
                                const uint8_t* gate, float* gx) {
  const int32_t channels = shape.in_c;
  const int32_t trained = weights.trained_in;
  for_inputs(shape, [&](int32_t position, const Reach& row, const Reach& column) {
    const auto part = [&](const float* part_weights, int32_t first, int32_t count) {
      in_blocks(count, [&](auto width, int32_t i) {
        float sum[width] = {};
        for_reached_rows(shape, row, column, [&](int32_t tap, int32_t at, int32_t n) {
          multiply_elements<width>(gy + at * channels + first + i, -channels, part_weights + tap * count + i,
                                   shape.stride_w * count, n, sum);
        });
        const int32_t element = position * channels + first + i;
        unrolled<width>([&](int32_t j) { gx[element + j] = gated(sum[j], gate, element + j); });
      });
    };
    part(weights.trained, 0, trained);
    part(weights.frozen, trained, channels - trained);
  });
}

}  // namespace ftte::float32
