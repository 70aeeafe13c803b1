// Weight gradient of a depthwise convolution (groups == in_c == out_c), fused with its update.
//
//   dw[ky][kx][c] = sum over oy, ox of gy[oy][ox][c] * x[oy * stride_h + ky - pad_top][ox * stride_w + kx -
//   pad_left][c] w -= learning rate * dw, by the rule of update.hpp
//
// Tap by tap, blocks of neighbouring channels.
#pragma once

#include <cstdint>

#include "engine/int8/update.hpp"
#include "engine/shapes.hpp"

namespace ftte::int8 {

// gy int8 [out_h][out_w][c] with gy_exponent; x int8 [in_h][in_w][x_channels] with x_exponent: all channels or the
// first trained_in. weights [kernel_h][kernel_w][trained_in]. The rest is as in conv2d_update.
// Cost: at most out_h * out_w * taps * trained_in products, and one step and about 15 instructions more a weight.
template <class Rule>
void depthwise2d_update(Sgd& sgd, uint32_t stream, const Conv2dShape& shape, const int8_t* gy, int32_t gy_exponent,
                        const int8_t* x, int32_t x_exponent, int32_t x_channels, const TrainedWeights<Rule>& weights);

}  // namespace ftte::int8
