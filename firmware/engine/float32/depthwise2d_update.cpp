#include "engine/float32/depthwise2d_update.hpp"

#include "engine/float32/dot.hpp"
#include "engine/float32/walk.hpp"

namespace ftte::float32 {

template <class Rule>
void depthwise2d_update(float learning_rate, const Conv2dShape& shape, const float* gy, const float* x,
                        int32_t x_channels, float* trained, int32_t trained_in) {
  const int32_t x_step = shape.stride_w * x_channels;
  for_meetings(shape, [&](int32_t tap, const Meeting& meeting) {
    in_blocks(trained_in, [&](auto width, int32_t i) {
      float sum[width] = {};
      for (int32_t row = 0; row < meeting.rows; ++row) {
        const float* g = gy + (meeting.y + row * shape.out_w) * shape.out_c + i;
        const float* in = x + (meeting.x + row * shape.stride_h * shape.in_w) * x_channels + i;
        multiply_elements<width>(g, shape.out_c, in, x_step, meeting.columns, sum);
      }
      float* const weights = trained + tap * trained_in + i;
      unrolled<width>([&](int32_t j) { Rule::apply(learning_rate, sum[j], weights[j]); });
    });
  });
}

template void depthwise2d_update<Immediate>(float, const Conv2dShape&, const float*, const float*, int32_t, float*,
                                            int32_t);
template void depthwise2d_update<Accumulated>(float, const Conv2dShape&, const float*, const float*, int32_t, float*,
                                              int32_t);

}  // namespace ftte::float32
