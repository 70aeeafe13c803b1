// The update of a depthwise convolution's weights, float32. Conventions as in conv2d.hpp.
#pragma once

#include <cstdint>

#include "engine/float32/update_rule.hpp"
#include "engine/shapes.hpp"

namespace ftte::float32 {

// Applies Rule (Immediate, Accumulated) to the first `trained_in` channels: `trained` [kernel_h][kernel_w][trained_in]
// holds the weights, or the accumulator. x [in_h][in_w][x_channels]: in_c, or trained_in where only that slice was
// kept; gy [out_size].
//
// Tap by tap, four channels at a time: one sum a weight over the outputs for which the tap lies inside x, row by row.
// Cost: at most out_h * out_w * taps * trained_in products.
template <class Rule>
void depthwise2d_update(float learning_rate, const Conv2dShape& shape, const float* gy, const float* x,
                        int32_t x_channels, float* trained, int32_t trained_in);

}  // namespace ftte::float32
