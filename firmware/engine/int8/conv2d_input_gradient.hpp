// Gradient of a convolution with respect to its input, int8 with an exponent found on the way.
//
//   gx[iy][ix][i] = sum over taps and o of gy[oy][ox][o] * w[ky][kx][i][o],  iy = oy * stride + ky - pad, ix likewise
//
// and zero where `x` <= 0 when `x` is given: if the layer before ends in a ReLU (also with max-pooling after it), that
// is the ReLU's derivative, as x is its output. The weights are those of the forward pass, so call this before the
// update.
//
// Two passes over the sums: the first finds the largest, whose length gives the scale; the second computes them again
// and stores them rounded to int8. An int32 copy of the map would take four times its room.
#pragma once

#include <cstdint>

#include "engine/int8/conv2d.hpp"

namespace ftte::int8 {

// gy int8 [out_h, out_w, out_c] with gy_exponent; weights as in conv2d; x, null or int8 [in_h, in_w, in_c].
// Writes gx int8 [in_h, in_w, in_c] and returns its exponent, gy_exponent + weights_exponent - shift, where shift is
// the least that brings every sum into [-127, 127]. gx may be x itself (each element is read before it is written),
// nothing else. Cost: twice the forward pass's products.
int32_t conv2d_input_gradient(const Conv2dShape& shape, const int8_t* gy, int32_t gy_exponent, const int8_t* weights,
                              int32_t weights_exponent, const int8_t* x, int8_t* gx);

}  // namespace ftte::int8
