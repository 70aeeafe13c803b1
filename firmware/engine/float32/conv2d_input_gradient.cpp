#include "engine/float32/bits.hpp"
#include "engine/float32/conv2d.hpp"
#include "engine/float32/dot.hpp"
#include "engine/window.hpp"

namespace ftte::float32 {
namespace {

template <int32_t kWidth>
void channels(const Conv2dShape& s, const Reach& row, const Reach& column, const float* gy, const float* weights,
              const float* x, float* gx) {
  float sum[kWidth] = {};
  for (int32_t oy = row.newest, ky = row.tap; oy >= 0 && ky < s.kernel_h; --oy, ky += s.stride) {
    for (int32_t ox = column.newest, kx = column.tap; ox >= 0 && kx < s.kernel_w; --ox, kx += s.stride) {
      const float* g = gy + (oy * s.out_w + ox) * s.out_c;
      const float* w = weights + (ky * s.kernel_w + kx) * s.in_c * s.out_c;
      multiply_accumulate<kWidth>(g, 1, w, 1, s.out_c, s.out_c, sum);
    }
  }
  for (int32_t j = 0; j < kWidth; ++j) gx[j] = x != nullptr ? relu_gradient(sum[j], x[j]) : sum[j];
}

}  // namespace

void conv2d_input_gradient(const Conv2dShape& shape, const float* gy, const float* weights, const float* x, float* gx) {
  Reach row = first_reach(shape.pad, shape.stride);
  for (int32_t iy = 0; iy < shape.in_h; ++iy, advance(row, shape.stride)) {
    const Reach inside_row = clipped(row, shape.out_h, shape.stride);
    Reach column = first_reach(shape.pad, shape.stride);
    for (int32_t ix = 0; ix < shape.in_w; ++ix, advance(column, shape.stride)) {
      const Reach inside = clipped(column, shape.out_w, shape.stride);
      const int32_t at = (iy * shape.in_w + ix) * shape.in_c;
      const float* mask = x != nullptr ? x + at : nullptr;
      int32_t i = 0;
      for (; i + kBlock <= shape.in_c; i += kBlock) {
        channels<kBlock>(shape, inside_row, inside, gy, weights + i * shape.out_c, mask != nullptr ? mask + i : nullptr,
                         gx + at + i);
      }
      for (; i < shape.in_c; ++i) {
        channels<1>(shape, inside_row, inside, gy, weights + i * shape.out_c, mask != nullptr ? mask + i : nullptr,
                    gx + at + i);
      }
    }
  }
}

}  // namespace ftte::float32
