#include "engine/int8/conv2d.hpp"

#include "engine/int8/dot.hpp"
#include "engine/window.hpp"

namespace ftte::int8 {
namespace {

struct Position {
  int32_t y, x;         // of the window's upper left corner in the input; may be negative
  Range rows, columns;  // taps that meet the input
};

template <int32_t kWidth>
void channels(const Conv2dShape& s, const Position& at, const int8_t* x, const int8_t* weights, const int32_t* bias,
              int32_t shift, int32_t low, int8_t* y) {
  int32_t sum[kWidth];
  for (int32_t j = 0; j < kWidth; ++j) sum[j] = round_shift(bias[j], kBiasBits);
  for (int32_t ky = at.rows.first; ky < at.rows.last; ++ky) {
    const int8_t* row = x + ((at.y + ky) * s.in_w + at.x + at.columns.first) * s.in_c;
    const int8_t* w = weights + (ky * s.kernel_w + at.columns.first) * s.in_c * s.out_c;
    multiply_accumulate<kWidth>(row, 1, w, s.out_c, 1, at.columns.size() * s.in_c, sum);
  }
  for (int32_t j = 0; j < kWidth; ++j) y[j] = static_cast<int8_t>(clamp(round_shift(sum[j], shift), low, 127));
}

}  // namespace

void conv2d(const Conv2dShape& shape, const int8_t* x, const int8_t* weights, const int32_t* bias, int32_t shift,
            Activation activation, int8_t* y) {
  const auto low = static_cast<int32_t>(activation);
  for (int32_t oy = 0; oy < shape.out_h; ++oy) {
    for (int32_t ox = 0; ox < shape.out_w; ++ox) {
      const int32_t iy = oy * shape.stride - shape.pad;
      const int32_t ix = ox * shape.stride - shape.pad;
      const Position at{iy, ix, taps_inside(iy, shape.kernel_h, shape.in_h),
                        taps_inside(ix, shape.kernel_w, shape.in_w)};
      int32_t o = 0;
      for (; o + kBlock <= shape.out_c; o += kBlock) {
        channels<kBlock>(shape, at, x, weights + o, bias + o, shift, low, y + o);
      }
      for (; o < shape.out_c; ++o) channels<1>(shape, at, x, weights + o, bias + o, shift, low, y + o);
      y += shape.out_c;
    }
  }
}

}  // namespace ftte::int8
