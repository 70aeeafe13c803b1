#include "engine/int8/slice_channels.hpp"

namespace ftte::int8 {

void slice_channels(int32_t positions, int32_t channels, int32_t kept, const int8_t* x, int8_t* y) {
  for (int32_t i = 0; i < positions; ++i, x += channels) {
    for (int32_t c = 0; c < kept; ++c) *y++ = x[c];
  }
}

}  // namespace ftte::int8
