#include "engine/int8/avg_pool.hpp"

#include "engine/blocks.hpp"
#include "engine/int8/requantise.hpp"
#include "engine/window.hpp"

namespace ftte::int8 {
namespace {

constexpr int32_t kShareBits = 23;
constexpr Range kAll{-128, 127};

}  // namespace

void avg_pool(const PoolShape& shape, const int8_t* x, int8_t output_lift, int8_t* y) {
  const int32_t share = ((2 << kShareBits) / shape.taps() + 1) >> 1;  // one division a call; |sum * share| <= 2^30
  const int32_t shift = kShareBits - output_lift;
  for (int32_t oy = 0; oy < shape.out_h; ++oy) {
    const int32_t top = oy * shape.stride_h - shape.pad_top;
    const auto rows = taps_inside(top, shape.kernel_h, shape.in_h);
    for (int32_t ox = 0; ox < shape.out_w; ++ox, y += shape.channels) {
      const int32_t left = ox * shape.stride_w - shape.pad_left;
      const auto columns = taps_inside(left, shape.kernel_w, shape.in_w);
      const int8_t* corner = x + ((top + rows.first) * shape.in_w + left + columns.first) * shape.channels;
      in_blocks(shape.channels, [&](auto width, int32_t c) {
        int32_t sum[width] = {};
        const int8_t* row = corner + c;
        for (int32_t ky = rows.first; ky < rows.last; ++ky, row += shape.in_w * shape.channels) {
          const int8_t* in = row;
          for (int32_t kx = columns.first; kx < columns.last; ++kx, in += shape.channels) {
            unrolled<width>([&](int32_t j) { sum[j] += in[j]; });
          }
        }
        unrolled<width>([&](int32_t j) { y[c + j] = requantise(sum[j] * share, shift, kAll); });
      });
    }
  }
}

}  // namespace ftte::int8
