#include "engine/int8/fold.hpp"

#include "engine/int8/update.hpp"

namespace ftte::int8 {

void fold_weights(Sgd& sgd, int32_t n, int8_t* values, int16_t* pending) {
  uint32_t clipped = 0;
  for (int32_t i = 0; i < n; ++i) {
    const int32_t wanted = values[i] * 256 + pending[i] + 128;
    const int32_t fine = saturate16(wanted);
    values[i] = static_cast<int8_t>(fine >> 8);
    pending[i] = static_cast<int16_t>((fine & 0xFF) - 128);
    clipped += differs(wanted, fine);
  }
  sgd.saturated += clipped;
}

void fold_bias(int32_t channels, int32_t* bias, int32_t* pending) {
  for (int32_t i = 0; i < channels; ++i) {
    bias[i] = clamp(bias[i] + pending[i], -kLargestBias, kLargestBias);
    pending[i] = 0;
  }
}

}  // namespace ftte::int8
