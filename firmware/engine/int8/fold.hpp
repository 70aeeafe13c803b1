// The end of a batch whose steps were collected (update.hpp, Accumulated): they are applied all at once.
#pragma once

#include <cstdint>

#include "engine/int8/sgd.hpp"

namespace ftte::int8 {

// q = clip(q + round(pending / 256)), halves up, to int8; pending keeps the rest, -128 .. 127, for the next batch, so
// that q * 256 + pending stays as it is but for clipping to the 16-bit grid. What is clipped is counted in
// sgd.saturated. values int8 [n], pending int16 [n]. Cost: about 12 instructions a weight.
void fold_weights(Sgd& sgd, int32_t n, int8_t* values, int16_t* pending);

// bias = clip(bias + pending) to +-kLargestBias, pending = 0; both int32 [channels], |value| <= kLargestBias.
void fold_bias(int32_t channels, int32_t* bias, int32_t* pending);

}  // namespace ftte::int8
