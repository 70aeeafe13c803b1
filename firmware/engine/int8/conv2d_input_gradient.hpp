// Gradient of a convolution with respect to its input, int8, in one pass.
//
//   gx[iy][ix][i] = sum over taps and the group's output channels o of (gy[oy][ox][o] << lift[o]) * w[o][ky][kx][i],
//   iy = oy * stride_h + ky - pad_top, ix likewise
//
// w[o] has the exponent weights_exponent - lift[o]: shifting gy brings all products to one exponent. Gate and scale of
// what is stored are gradient_scale.hpp's. The weights are those of the forward pass: call this before the update.
//
// Position by position; of each, blocks of neighbouring input channels, whose weights for one tap and output lie side
// by side, so that one load of gy serves the block.
//
// Sums fit: |gy| <= 127, |w| <= 128, and lift <= 17 - ceil(log2(taps * group_out)) bound a sum of at most taps *
// group_out products by 127 * 128 * 2^17 < 2^31 - 2^24.
#pragma once

#include <cstdint>

#include "engine/int8/gradient_scale.hpp"
#include "engine/shapes.hpp"

namespace ftte::int8 {

// gy int8 [out_h][out_w][out_c] with gy_exponent; weights [out_c][kernel_h][kernel_w][group_in], in their two parts;
// lift int8 [out_c], 0 .. 7; gate null or bits of [in_h][in_w][in_c]; peak of this map.
// Writes gx int8 [in_h][in_w][in_c], renews the peak, and returns the exponent of gx. gx overlaps nothing.
// Cost: at most out_size * taps * group_in products (11 instructions for four on an M4) and a store for each element.
int32_t conv2d_input_gradient(Sgd& sgd, const Conv2dShape& shape, const int8_t* gy, int32_t gy_exponent,
                              const Weights<int8_t>& weights, const int8_t* lift, int32_t weights_exponent,
                              const uint8_t* gate, uint32_t* peak, int8_t* gx);

}  // namespace ftte::int8
