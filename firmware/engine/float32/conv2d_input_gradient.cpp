#include "engine/float32/bits.hpp"
#include "engine/float32/conv2d.hpp"
#include "engine/float32/dot.hpp"
#include "engine/window.hpp"

namespace ftte::float32 {
namespace {

template <int32_t kWidth>
[[gnu::always_inline]] inline void sums_at(const Conv2dShape& s, const Reach& row, const Reach& column, const float* gy,
                                           const float* weights, float (&sum)[kWidth]) {
  unrolled<kWidth>([&](int32_t j) { sum[j] = 0.0F; });
  for (int32_t oy = row.newest, ky = row.tap; oy >= 0 && ky < s.kernel_h; --oy, ky += s.stride) {
    for (int32_t ox = column.newest, kx = column.tap; ox >= 0 && kx < s.kernel_w; --ox, kx += s.stride) {
      const float* g = gy + (oy * s.out_w + ox) * s.out_c;
      const float* w = weights + (ky * s.kernel_w + kx) * s.in_c * s.out_c;
      multiply_accumulate<kWidth>(g, 1, w, 1, s.out_c, s.out_c, sum);
    }
  }
}

}  // namespace

void conv2d_input_gradient(const Conv2dShape& shape, const float* gy, const float* weights, const float* x, float* gx) {
  int32_t position = 0;
  Reach row = first_reach(shape.pad, shape.stride);
  for (int32_t iy = 0; iy < shape.in_h; ++iy, advance(row, shape.stride)) {
    const Reach inside_row = clipped(row, shape.out_h, shape.stride);
    Reach column = first_reach(shape.pad, shape.stride);
    for (int32_t ix = 0; ix < shape.in_w; ++ix, advance(column, shape.stride), position += shape.in_c) {
      const Reach inside = clipped(column, shape.out_w, shape.stride);
      in_blocks(shape.in_c, [&](auto width, int32_t i) {
        float sum[width];
        sums_at<width>(shape, inside_row, inside, gy, weights + i * shape.out_c, sum);
        unrolled<width>([&](int32_t j) {
          const int32_t index = position + i + j;
          gx[index] = x != nullptr ? relu_gradient(sum[j], x[index]) : sum[j];
        });
      });
    }
  }
}

}  // namespace ftte::float32
