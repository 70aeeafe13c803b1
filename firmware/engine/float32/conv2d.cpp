#include "engine/float32/conv2d.hpp"

#include "engine/float32/dot.hpp"
#include "engine/window.hpp"

namespace ftte::float32 {
namespace {

// Copies what lies under the window at (y, x), which may reach outside, in the order of the weights; zeros outside.
void gather(const Conv2dShape& s, int32_t y, int32_t x, const float* map, float* patch) {
  const Range columns = taps_inside(x, s.kernel_w, s.in_w);
  for (int32_t ky = 0; ky < s.kernel_h; ++ky) {
    const bool inside = y + ky >= 0 && y + ky < s.in_h;
    const Range range = inside ? columns : Range{s.kernel_w, s.kernel_w};
    const float* source = map + ((y + ky) * s.in_w + x + range.first) * s.in_c;
    float* const row_end = patch + s.kernel_w * s.in_c;
    for (float* const end = patch + range.first * s.in_c; patch != end;) *patch++ = 0;
    for (float* const end = patch + range.size() * s.in_c; patch != end;) *patch++ = *source++;
    while (patch != row_end) *patch++ = 0;
  }
}

}  // namespace

void conv2d(const Conv2dShape& shape, const float* x, const float* weights, const float* bias, Activation activation,
            float* patch, float* y) {
  const int32_t size = shape.patch_size();
  const int32_t channels = shape.out_c;
  for (int32_t oy = 0; oy < shape.out_h; ++oy) {
    for (int32_t ox = 0; ox < shape.out_w; ++ox) {
      gather(shape, oy * shape.stride - shape.pad, ox * shape.stride - shape.pad, x, patch);
      in_blocks(channels, [=](auto width, int32_t o) {
        float sum[width];
        unrolled<width>([&](int32_t j) { sum[j] = bias[o + j]; });
        multiply_accumulate<width>(patch, 1, weights + o, channels, 1, size, sum);
        unrolled<width>([&](int32_t j) { y[o + j] = activate(sum[j], activation); });
      });
      y += channels;
    }
  }
}

}  // namespace ftte::float32
