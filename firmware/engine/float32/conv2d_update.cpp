#include "engine/float32/conv2d_update.hpp"

#include "engine/float32/dot.hpp"
#include "engine/float32/walk.hpp"

namespace ftte::float32 {
namespace {

// The sums of kWidth output channels and one input channel; gy and x begin with those channels.
template <int32_t kWidth>
[[gnu::always_inline]] inline void sums_of(const Conv2dShape& s, const Meeting& meeting, const float* gy,
                                           const float* x, int32_t x_channels, float (&sum)[kWidth]) {
  const int32_t step = s.stride_w * x_channels;
  const float* row = x + meeting.x * x_channels;
  const float* g = gy + meeting.y * s.out_c;
  for (int32_t i = 0; i < meeting.rows; ++i) {
    multiply_accumulate<kWidth>(row, step, g, s.out_c, 1, meeting.columns, sum);
    row += s.stride_h * s.in_w * x_channels;
    g += s.out_w * s.out_c;
  }
}

// Each weight has one product where the kernel covers the whole input: no sums, and rows of weights in their order.
template <class Rule>
void dense_update(float learning_rate, const Conv2dShape& s, const float* gy, const float* x, int32_t x_channels,
                  float* trained, int32_t trained_in) {
  for (int32_t o = 0; o < s.out_c; ++o) {
    const float slope = gy[o];
    for (int32_t tap = 0; tap < s.taps(); ++tap) {
      const float* in = x + tap * x_channels;
      for (int32_t i = 0; i < trained_in; ++i) Rule::apply(learning_rate, slope * in[i], *trained++);
    }
  }
}

constexpr bool covers_input(const Conv2dShape& s) {
  return s.groups == 1 && s.kernel_h == s.in_h && s.kernel_w == s.in_w && s.pad_top == 0 && s.pad_left == 0 &&
         s.out_h == 1 && s.out_w == 1;
}

}  // namespace

template <class Rule>
void conv2d_update(float learning_rate, const Conv2dShape& shape, const float* gy, const float* x, int32_t x_channels,
                   float* trained, int32_t trained_in) {
  if (covers_input(shape)) {
    dense_update<Rule>(learning_rate, shape, gy, x, x_channels, trained, trained_in);
    return;
  }
  const int32_t group_out = shape.group_out();
  const int32_t row = shape.taps() * trained_in;
  for_meetings(shape, [&](int32_t tap, const Meeting& meeting) {
    for (int32_t group = 0; group < shape.groups; ++group) {
      for (int32_t i = 0; i < trained_in; ++i) {
        const float* channel = x + group * shape.group_in() + i;
        in_blocks(group_out, [&](auto width, int32_t o) {
          const int32_t out = group * group_out + o;
          float sum[width] = {};
          sums_of<width>(shape, meeting, gy + out, channel, x_channels, sum);
          float* const weights = trained + out * row + tap * trained_in + i;
          unrolled<width>([&](int32_t j) { Rule::apply(learning_rate, sum[j], weights[j * row]); });
        });
      }
    }
  });
}

template void conv2d_update<Immediate>(float, const Conv2dShape&, const float*, const float*, int32_t, float*, int32_t);
template void conv2d_update<Accumulated>(float, const Conv2dShape&, const float*, const float*, int32_t, float*,
                                         int32_t);

}  // namespace ftte::float32
