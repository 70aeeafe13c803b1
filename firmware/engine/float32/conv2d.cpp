#include "engine/float32/conv2d.hpp"

#include "engine/float32/bits.hpp"
#include "engine/float32/dot.hpp"
#include "engine/window.hpp"

namespace ftte::float32 {
namespace {

struct Position {
  int32_t y, x;         // of the window's upper left corner in the input; may be negative
  Range rows, columns;  // taps that meet the input
};

template <int32_t kWidth>
void channels(const Conv2dShape& s, const Position& at, const float* x, const float* weights, const float* bias,
              Activation activation, float* y) {
  float sum[kWidth];
  for (int32_t j = 0; j < kWidth; ++j) sum[j] = bias[j];
  for (int32_t ky = at.rows.first; ky < at.rows.last; ++ky) {
    const float* row = x + ((at.y + ky) * s.in_w + at.x + at.columns.first) * s.in_c;
    const float* w = weights + (ky * s.kernel_w + at.columns.first) * s.in_c * s.out_c;
    multiply_accumulate<kWidth>(row, 1, w, s.out_c, 1, at.columns.size() * s.in_c, sum);
  }
  for (int32_t j = 0; j < kWidth; ++j) y[j] = activation == Activation::kRelu ? relu(sum[j]) : sum[j];
}

}  // namespace

void conv2d(const Conv2dShape& shape, const float* x, const float* weights, const float* bias, Activation activation,
            float* y) {
  for (int32_t oy = 0; oy < shape.out_h; ++oy) {
    for (int32_t ox = 0; ox < shape.out_w; ++ox) {
      const int32_t iy = oy * shape.stride - shape.pad;
      const int32_t ix = ox * shape.stride - shape.pad;
      const Position at{iy, ix, taps_inside(iy, shape.kernel_h, shape.in_h),
                        taps_inside(ix, shape.kernel_w, shape.in_w)};
      int32_t o = 0;
      for (; o + kBlock <= shape.out_c; o += kBlock) {
        channels<kBlock>(shape, at, x, weights + o, bias + o, activation, y + o);
      }
      for (; o < shape.out_c; ++o) channels<1>(shape, at, x, weights + o, bias + o, activation, y + o);
      y += shape.out_c;
    }
  }
}

}  // namespace ftte::float32
