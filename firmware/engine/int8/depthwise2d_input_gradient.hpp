// Gradient of a depthwise convolution (groups == in_c == out_c) with respect to its input, int8, in one pass.
//
//   gx[iy][ix][c] = (sum over taps of gy[oy][ox][c] * w[ky][kx][c]) << lift[c]
//
// The rest is as in conv2d_input_gradient.hpp, the bound of the sums with group_out == 1.
#pragma once

#include <cstdint>

#include "engine/int8/gradient_scale.hpp"
#include "engine/shapes.hpp"

namespace ftte::int8 {

// gy int8 [out_h][out_w][c] with gy_exponent; weights [kernel_h][kernel_w][c], the first trained_in channels and the
// others apart; lift int8 [c]; gate null or bits of [in_h][in_w][c]; peak of this map.
// Writes gx int8 [in_h][in_w][c], renews the peak, and returns the exponent of gx. gx overlaps nothing.
// Cost: at most out_size * taps products and a store for each element.
int32_t depthwise2d_input_gradient(Sgd& sgd, const Conv2dShape& shape, const int8_t* gy, int32_t gy_exponent,
                                   const Weights<int8_t>& weights, const int8_t* lift, int32_t weights_exponent,
                                   const uint8_t* gate, uint32_t* peak, int8_t* gx);

}  // namespace ftte::int8
