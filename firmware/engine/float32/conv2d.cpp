#include "engine/float32/conv2d.hpp"

#include "engine/float32/dot.hpp"
#include "engine/float32/walk.hpp"

namespace ftte::float32 {
namespace {

// Copies what lies under the window at (y, x), which may reach outside; zeros outside.
void gather(const Conv2dShape& s, int32_t y, int32_t x, const float* map, float* window) {
  const auto columns = taps_inside(x, s.kernel_w, s.in_w);
  for (int32_t ky = 0; ky < s.kernel_h; ++ky) {
    const bool inside = y + ky >= 0 && y + ky < s.in_h;
    const int32_t first = inside ? columns.first : s.kernel_w;
    const int32_t last = inside ? columns.last : s.kernel_w;
    const float* source = map + ((y + ky) * s.in_w + x + first) * s.in_c;
    float* const row_end = window + s.kernel_w * s.in_c;
    for (float* const end = window + first * s.in_c; window != end;) *window++ = 0;
    for (float* const end = window + (last - first) * s.in_c; window != end;) *window++ = *source++;
    while (window != row_end) *window++ = 0;
  }
}

// The trained or the frozen input channels: their weights [out_c][runs][length], and where they lie in a window.
struct Part {
  const float* weights;
  int32_t first;  // channel of the group
  int32_t runs, length;
};

// A whole window is one run.
Part part_of(const Conv2dShape& s, const float* weights, int32_t first, int32_t channels) {
  if (channels == s.in_c) return {weights, 0, 1, s.taps() * channels};
  return {weights, first, channels == 0 ? 0 : s.taps(), channels};
}

template <int32_t kWidth>
[[gnu::always_inline]] inline void add_part(const Part& part, const float* window, int32_t step, int32_t channel,
                                            float (&sum)[kWidth]) {
  const int32_t row = part.runs * part.length;
  const float* weights = part.weights + channel * row;
  const float* run = window + part.first;
  for (int32_t i = 0; i < part.runs; ++i, run += step, weights += part.length) {
    multiply_accumulate<kWidth>(run, 1, weights, 1, row, part.length, sum);
  }
}

}  // namespace

void conv2d(const Conv2dShape& shape, const float* x, const Weights<float>& weights, const float* bias, Range range,
            float* scratch, float* y) {
  const int32_t group_in = shape.group_in();
  const int32_t group_out = shape.group_out();
  const Part parts[] = {part_of(shape, weights.trained, 0, weights.trained_in),
                        part_of(shape, weights.frozen, weights.trained_in, group_in - weights.trained_in)};
  const Bounds bounds(range);
  const bool in_place = conv2d_scratch(shape) == 0;
  for (int32_t oy = 0; oy < shape.out_h; ++oy) {
    for (int32_t ox = 0; ox < shape.out_w; ++ox) {
      const int32_t row = oy * shape.stride_h - shape.pad_top;
      const int32_t column = ox * shape.stride_w - shape.pad_left;
      const float* window = in_place ? x + (row * shape.in_w + column) * shape.in_c : scratch;
      if (!in_place) gather(shape, row, column, x, scratch);
      for (int32_t group = 0; group < shape.groups; ++group, window += group_in) {
        in_blocks(group_out, [&](auto width, int32_t o) {
          const int32_t channel = group * group_out + o;
          float sum[width];
          unrolled<width>([&](int32_t j) { sum[j] = bias[channel + j]; });
          for (const Part& part : parts) add_part<width>(part, window, shape.in_c, channel, sum);
          unrolled<width>([&](int32_t j) { y[channel + j] = bounds.clamp(sum[j]); });
        });
      }
      y += shape.out_c;
    }
  }
}

}  // namespace ftte::float32
