#include "engine/int8/conv2d.hpp"

#include "engine/int8/dot.hpp"
#include "engine/int8/requantise.hpp"
#include "engine/window.hpp"

namespace ftte::int8 {
namespace {

// Copies what lies under the window at (y, x), which may reach outside; zeros outside.
void gather(const Conv2dShape& s, int32_t y, int32_t x, const int8_t* map, int8_t* window) {
  const auto columns = taps_inside(x, s.kernel_w, s.in_w);
  for (int32_t ky = 0; ky < s.kernel_h; ++ky) {
    const bool inside = y + ky >= 0 && y + ky < s.in_h;
    const int32_t first = inside ? columns.first : s.kernel_w;
    const int32_t last = inside ? columns.last : s.kernel_w;
    const int8_t* source = map + ((y + ky) * s.in_w + x + first) * s.in_c;
    int8_t* const row_end = window + s.kernel_w * s.in_c;
    for (int8_t* const end = window + first * s.in_c; window != end;) *window++ = 0;
    for (int8_t* const end = window + (last - first) * s.in_c; window != end;) *window++ = *source++;
    while (window != row_end) *window++ = 0;
  }
}

// The trained or the frozen input channels: their weights [out_c][runs][length], and where they begin in a window.
struct Part {
  const int8_t* weights;
  int32_t first;  // channel of the group
  int32_t runs, length;
};

// All channels of a window are one run.
Part part_of(const Conv2dShape& s, const int8_t* weights, int32_t first, int32_t channels) {
  if (channels == s.in_c) return {weights, 0, 1, s.taps() * channels};
  return {weights, first, channels == 0 ? 0 : s.taps(), channels};
}

template <int32_t kWidth>
[[gnu::always_inline]] inline void add_part(const Part& part, const int8_t* window, int32_t step, int32_t channel,
                                            int32_t (&sum)[kWidth]) {
  const int32_t row = part.runs * part.length;
  const int8_t* weights = part.weights + channel * row;
  const int8_t* run = window + part.first;
  for (int32_t i = 0; i < part.runs; ++i, run += step, weights += part.length) {
    dot_rows<kWidth>(run, weights, row, part.length, sum);
  }
}

// store(channel, sum) for every output, position by position.
template <typename Store>
[[gnu::always_inline]] inline void convolve(const Conv2dShape& shape, const int8_t* x, const Weights<int8_t>& weights,
                                            const int32_t* bias, int8_t* scratch, const Store& store) {
  const int32_t group_in = shape.group_in();
  const int32_t group_out = shape.group_out();
  const Part parts[] = {part_of(shape, weights.trained, 0, weights.trained_in),
                        part_of(shape, weights.frozen, weights.trained_in, group_in - weights.trained_in)};
  const bool direct = shape.reads_directly();
  int32_t position = 0;
  for (int32_t oy = 0; oy < shape.out_h; ++oy) {
    for (int32_t ox = 0; ox < shape.out_w; ++ox, position += shape.out_c) {
      const int32_t row = oy * shape.stride_h - shape.pad_top;
      const int32_t column = ox * shape.stride_w - shape.pad_left;
      const int8_t* window = direct ? x + (row * shape.in_w + column) * shape.in_c : scratch;
      if (!direct) gather(shape, row, column, x, scratch);
      for (int32_t first = 0; first < shape.out_c; first += group_out, window += group_in) {
        in_blocks(group_out, [&](auto width, int32_t o) {
          const int32_t channel = first + o;
          int32_t sum[width];
          unrolled<width>([&](int32_t j) { sum[j] = bias_in_sum(bias[channel + j]); });
          for (const Part& part : parts) add_part<width>(part, window, shape.in_c, channel, sum);
          unrolled<width>([&](int32_t j) { store(position, channel + j, sum[j]); });
        });
      }
    }
  }
}

}  // namespace

void conv2d(const Conv2dShape& shape, const int8_t* x, const Weights<int8_t>& weights, const int32_t* bias,
            const int8_t* shifts, Range range, int8_t* scratch, int8_t* y) {
  convolve(shape, x, weights, bias, scratch, [&](int32_t position, int32_t channel, int32_t sum) {
    y[position + channel] = requantise(sum, shifts[channel], range);
  });
}

void conv2d_logits(const Conv2dShape& shape, const int8_t* x, const Weights<int8_t>& weights, const int32_t* bias,
                   int8_t* scratch, int32_t* y) {
  convolve(shape, x, weights, bias, scratch,
           [&](int32_t position, int32_t channel, int32_t sum) { y[position + channel] = sum; });
}

}  // namespace ftte::int8
