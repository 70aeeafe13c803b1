#include "engine/int8/depthwise2d.hpp"

#include "engine/blocks.hpp"
#include "engine/int8/requantise.hpp"
#include "engine/window.hpp"

namespace ftte::int8 {
namespace {

// Channels whose weights [taps][channels] lie together: those trained, or those frozen.
struct Part {
  const int8_t* weights;
  int32_t first, channels;
};

}  // namespace

void depthwise2d(const Conv2dShape& shape, const int8_t* x, const Weights<int8_t>& weights, const int32_t* bias,
                 const int8_t* shifts, Range range, int8_t* y) {
  const Part parts[] = {{weights.trained, 0, weights.trained_in},
                        {weights.frozen, weights.trained_in, shape.in_c - weights.trained_in}};
  const int32_t row_step = shape.in_w * shape.in_c;
  for (int32_t oy = 0; oy < shape.out_h; ++oy) {
    const int32_t top = oy * shape.stride_h - shape.pad_top;
    const auto rows = taps_inside(top, shape.kernel_h, shape.in_h);
    for (int32_t ox = 0; ox < shape.out_w; ++ox, y += shape.out_c) {
      const int32_t left = ox * shape.stride_w - shape.pad_left;
      const auto columns = taps_inside(left, shape.kernel_w, shape.in_w);
      const int8_t* corner = x + ((top + rows.first) * shape.in_w + left + columns.first) * shape.in_c;
      for (const Part& part : parts) {
        const int8_t* taps = part.weights + (rows.first * shape.kernel_w + columns.first) * part.channels;
        in_blocks(part.channels, [&](auto width, int32_t i) {
          const int32_t channel = part.first + i;
          int32_t sum[width];
          unrolled<width>([&](int32_t j) { sum[j] = bias_in_sum(bias[channel + j]); });
          const int8_t* row = corner + channel;
          const int8_t* w_row = taps + i;
          for (int32_t ky = rows.first; ky < rows.last; ++ky) {
            const int8_t* in = row;
            const int8_t* w = w_row;
            for (int32_t kx = columns.first; kx < columns.last; ++kx) {
              unrolled<width>([&](int32_t j) { sum[j] += in[j] * w[j]; });
              in += shape.in_c;
              w += part.channels;
            }
            row += row_step;
            w_row += shape.kernel_w * part.channels;
          }
          unrolled<width>([&](int32_t j) { y[channel + j] = requantise(sum[j], shifts[channel + j], range); });
        });
      }
    }
  }
}

}  // namespace ftte::int8
