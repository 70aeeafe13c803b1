#include "engine/int8/upsample.hpp"

namespace ftte::int8 {

void upsample(const UpsampleShape& shape, const int8_t* x, int8_t* y) {
  int32_t repeat_row = 0;
  for (int32_t oy = 0; oy < shape.out_h; ++oy) {
    const int8_t* from = x;
    int32_t repeat = 0;
    for (int32_t ox = 0; ox < shape.out_w; ++ox) {
      for (int32_t c = 0; c < shape.channels; ++c) *y++ = from[c];
      if (++repeat == shape.factor) {
        repeat = 0;
        from += shape.channels;
      }
    }
    if (++repeat_row == shape.factor) {
      repeat_row = 0;
      x += shape.in_w * shape.channels;
    }
  }
}

}  // namespace ftte::int8
