// conv2d_input_gradient (engine/float32/conv2d_input_gradient.hpp) for cores with an FPU: the same bits. Pointwise
// convolutions in blocks of four positions and four channels, fully connected layers eight inputs at a time.
//
// Larger windows, grouped convolutions and other cores: the general kernel. (At a map's edge neighbouring inputs are
// reached by different taps; what a block would add for those that are missing, 0 times a weight, is not 0 if that is
// infinite.)
#pragma once

#include "engine/float32/conv2d_input_gradient.hpp"

namespace ftte::float32::fast {

// On an M4: about 1.6 instructions a product with 32 output channels, fully connected 1.5.
void conv2d_input_gradient(const Conv2dShape& shape, const float* gy, const Weights<float>& weights,
                           const uint8_t* gate, float* gx);

}  // namespace ftte::float32::fast
