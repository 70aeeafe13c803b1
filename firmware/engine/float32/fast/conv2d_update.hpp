// conv2d_update (engine/float32/conv2d_update.hpp) in blocks of four output and four input channels, for cores with an
// FPU: the same bits. A block's sums stay in registers over all positions, and its weights take their steps at once.
//
// Channels that fill no block, grouped convolutions and other cores: the general kernel's arithmetic.
#pragma once

#include "engine/float32/conv2d_update.hpp"

namespace ftte::float32::fast {

// On an M4: about 1.45 instructions a product, fully connected 2.8 a weight.
template <class Rule>
void conv2d_update(float learning_rate, const Conv2dShape& shape, const float* gy, const float* x, int32_t x_channels,
                   float* trained, int32_t trained_in);

}  // namespace ftte::float32::fast
