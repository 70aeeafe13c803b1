#include "engine/float32/upsample_gradient.hpp"

#include "engine/float32/dot.hpp"
#include "engine/float32/gate.hpp"

namespace ftte::float32 {
namespace {

constexpr int32_t smaller(int32_t a, int32_t b) { return a < b ? a : b; }

}  // namespace

void upsample_gradient(const UpsampleShape& shape, const float* gy, const uint8_t* gate, float* gx) {
  const int32_t channels = shape.channels;
  int32_t element = 0;
  for (int32_t iy = 0; iy < shape.in_h; ++iy) {
    const int32_t top = iy * shape.factor;
    const int32_t bottom = smaller(top + shape.factor, shape.out_h);
    for (int32_t ix = 0; ix < shape.in_w; ++ix, element += channels) {
      const int32_t left = ix * shape.factor;
      const int32_t right = smaller(left + shape.factor, shape.out_w);
      in_blocks(channels, [&](auto width, int32_t c) {
        float sum[width] = {};
        for (int32_t oy = top; oy < bottom; ++oy) {
          add_elements<width>(gy + (oy * shape.out_w + left) * channels + c, channels, right - left, sum);
        }
        const int32_t first = element + c;
        unrolled<width>([&](int32_t j) { gx[first + j] = gated(sum[j], gate, first + j); });
      });
    }
  }
}

}  // namespace ftte::float32
