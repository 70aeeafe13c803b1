#include "engine/float32/upsample.hpp"

namespace ftte::float32 {

void upsample(const UpsampleShape& shape, const float* x, float* y) {
  int32_t row_repeat = 0;
  for (int32_t oy = 0; oy < shape.out_h; ++oy) {
    const float* source = x;
    int32_t repeat = 0;
    for (int32_t ox = 0; ox < shape.out_w; ++ox) {
      for (int32_t c = 0; c < shape.channels; ++c) *y++ = source[c];
      if (++repeat == shape.factor) {
        repeat = 0;
        source += shape.channels;
      }
    }
    if (++row_repeat == shape.factor) {
      row_repeat = 0;
      x += shape.in_w * shape.channels;
    }
  }
}

}  // namespace ftte::float32
