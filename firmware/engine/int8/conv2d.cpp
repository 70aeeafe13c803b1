#include "engine/int8/conv2d.hpp"

#include "engine/int8/dot.hpp"
#include "engine/window.hpp"

namespace ftte::int8 {
namespace {

// Copies what lies under the window at (y, x), which may reach outside, in the order of the weights; zeros outside.
void gather(const Conv2dShape& s, int32_t y, int32_t x, const int8_t* map, int8_t* patch) {
  const Range columns = taps_inside(x, s.kernel_w, s.in_w);
  for (int32_t ky = 0; ky < s.kernel_h; ++ky) {
    const bool inside = y + ky >= 0 && y + ky < s.in_h;
    const Range range = inside ? columns : Range{s.kernel_w, s.kernel_w};
    const int8_t* source = map + ((y + ky) * s.in_w + x + range.first) * s.in_c;
    int8_t* const row_end = patch + s.kernel_w * s.in_c;
    for (int8_t* const end = patch + range.first * s.in_c; patch != end;) *patch++ = 0;
    for (int8_t* const end = patch + range.size() * s.in_c; patch != end;) *patch++ = *source++;
    while (patch != row_end) *patch++ = 0;
  }
}

}  // namespace

void conv2d(const Conv2dShape& shape, const int8_t* x, const int8_t* weights, const int32_t* bias, int32_t shift,
            Activation activation, int8_t* patch, int8_t* y) {
  const auto low = static_cast<int32_t>(activation);
  const int32_t size = shape.patch_size();
  const int32_t channels = shape.out_c;
  for (int32_t oy = 0; oy < shape.out_h; ++oy) {
    for (int32_t ox = 0; ox < shape.out_w; ++ox) {
      gather(shape, oy * shape.stride - shape.pad, ox * shape.stride - shape.pad, x, patch);
      in_blocks(channels, [=](auto width, int32_t o) {
        int32_t sum[width];
        unrolled<width>([&](int32_t j) { sum[j] = round_shift(bias[o + j], kBiasBits); });
        multiply_accumulate<width>(patch, 1, weights + o, channels, 1, size, sum);
        unrolled<width>(
            [&](int32_t j) { y[o + j] = static_cast<int8_t>(clamp(round_shift(sum[j], shift), low, 127)); });
      });
      y += channels;
    }
  }
}

}  // namespace ftte::int8
