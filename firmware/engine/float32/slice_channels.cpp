#include "engine/float32/slice_channels.hpp"

namespace ftte::float32 {

void slice_channels(int32_t positions, int32_t channels, int32_t kept, const float* x, float* y) {
  for (int32_t i = 0; i < positions; ++i, x += channels) {
    for (int32_t c = 0; c < kept; ++c) *y++ = x[c];
  }
}

}  // namespace ftte::float32
