#include "engine/float32/conv2d.hpp"
#include "engine/float32/dot.hpp"
#include "engine/window.hpp"

namespace ftte::float32 {
namespace {

// One tap of the kernel and the outputs for which it reads inside the input.
struct Tap {
  int32_t y, x;  // offset of the tap from an output's position times stride, pad included
  Range rows, columns;
};

template <int32_t kWidth>
[[gnu::always_inline]] inline void sums_of(const Conv2dShape& s, const Tap& tap, const float* gy, const float* x,
                                           float (&sum)[kWidth]) {
  const int32_t step = s.stride * s.in_c;
  const int32_t channels = s.out_c;
  const float* row = x + ((tap.rows.first * s.stride + tap.y) * s.in_w + tap.columns.first * s.stride + tap.x) * s.in_c;
  const float* g = gy + (tap.rows.first * s.out_w + tap.columns.first) * channels;
  for (int32_t oy = tap.rows.first; oy < tap.rows.last; ++oy) {
    multiply_accumulate<kWidth>(row, step, g, channels, 1, tap.columns.size(), sum);
    row += s.in_w * step;
    g += s.out_w * channels;
  }
}

}  // namespace

void conv2d_update(const Conv2dShape& shape, float learning_rate, const float* gy, const float* x, float* weights,
                   float* bias) {
  for (int32_t ky = 0; ky < shape.kernel_h; ++ky) {
    const Range rows = outputs_inside(ky, shape.stride, shape.pad, shape.in_h, shape.out_h);
    for (int32_t kx = 0; kx < shape.kernel_w; ++kx) {
      const Range columns = outputs_inside(kx, shape.stride, shape.pad, shape.in_w, shape.out_w);
      const Tap tap{ky - shape.pad, kx - shape.pad, rows, columns};
      for (int32_t i = 0; i < shape.in_c; ++i) {
        in_blocks(shape.out_c, [&](auto width, int32_t o) {
          float sum[width] = {};
          sums_of<width>(shape, tap, gy + o, x + i, sum);
          unrolled<width>([&](int32_t j) { *weights++ -= learning_rate * sum[j]; });
        });
      }
    }
  }
  for (int32_t o = 0; o < shape.out_c; ++o) {
    float sum = 0.0F;
    for (int32_t i = 0; i < shape.out_h * shape.out_w; ++i) sum += gy[i * shape.out_c + o];
    bias[o] -= learning_rate * sum;
  }
}

}  // namespace ftte::float32
