// Gradient of a convolution with respect to its input, float32. Conventions as in conv2d.hpp.
#pragma once

#include <cstdint>

#include "engine/shapes.hpp"

namespace ftte::float32 {

// gx [in_size] = gradient with respect to x, 0 where `gate` (the bits of x's activation; null: none) is closed. Call
// before the update of the weights.
//
// Input by input, four channels at a time: over the outputs whose window covers the input, the last first, and of each
// over the output channels of the group upwards. Cost: at most out_size * taps * group_in products.
void conv2d_input_gradient(const Conv2dShape& shape, const float* gy, const Weights<float>& weights,
                           const uint8_t* gate, float* gx);

}  // namespace ftte::float32
