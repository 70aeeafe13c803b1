#include "engine/float32/conv2d_input_gradient.hpp"

#include "engine/float32/dot.hpp"
#include "engine/float32/gate.hpp"
#include "engine/float32/walk.hpp"

namespace ftte::float32 {
namespace {

// Of `channels` input channels of one group at one position. gy and weights [group_out][taps][channels] begin with the
// group, gx with the channels' first element, which the gate calls `element`.
void part_gradient(const Conv2dShape& s, const Reach& row, const Reach& column, const float* gy, const float* weights,
                   int32_t channels, const uint8_t* gate, int32_t element, float* gx) {
  in_blocks(channels, [&](auto width, int32_t i) {
    float sum[width] = {};
    for_reached_rows(s, row, column, [&](int32_t tap, int32_t position, int32_t n) {
      const float* slope = gy + position * s.out_c;
      const float* weight = weights + tap * channels + i;
      for (int32_t k = 0; k < n; ++k, slope -= s.out_c, weight += s.stride_w * channels) {
        multiply_accumulate<width>(slope, 1, weight, s.taps() * channels, 1, s.group_out(), sum);
      }
    });
    unrolled<width>([&](int32_t j) { gx[i + j] = gated(sum[j], gate, element + i + j); });
  });
}

}  // namespace

void conv2d_input_gradient(const Conv2dShape& shape, const float* gy, const Weights<float>& weights,
                           const uint8_t* gate, float* gx) {
  const int32_t group_in = shape.group_in();
  const int32_t group_out = shape.group_out();
  const int32_t trained = weights.trained_in;
  const int32_t frozen = group_in - trained;
  for_inputs(shape, [&](int32_t position, const Reach& row, const Reach& column) {
    for (int32_t group = 0; group < shape.groups; ++group) {
      const int32_t element = position * shape.in_c + group * group_in;
      const int32_t rows = group * group_out * shape.taps();
      const float* of_group = gy + group * group_out;
      part_gradient(shape, row, column, of_group, weights.trained + rows * trained, trained, gate, element,
                    gx + element);
      part_gradient(shape, row, column, of_group, weights.frozen + rows * frozen, frozen, gate, element + trained,
                    gx + element + trained);
    }
  });
}

}  // namespace ftte::float32
