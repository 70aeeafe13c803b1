// Depthwise convolution with bias and activation, int8: each channel has a kernel of its own (groups == in_c == out_c).
//
// Layouts as in shapes.hpp: weights [kernel_h, kernel_w, channels], split between RAM and flash at channel trained_in;
// bias and shifts as in conv2d.hpp.
#pragma once

#include <cstdint>

#include "engine/int8/range.hpp"
#include "engine/shapes.hpp"

namespace ftte::int8 {

// y [out_h, out_w, out_c] overlaps nothing. Cost: products for the taps that lie inside x, which data does not change.
void depthwise2d(const Conv2dShape& shape, const int8_t* x, const Weights<int8_t>& weights, const int32_t* bias,
                 const int8_t* shifts, Range range, int8_t* y);

}  // namespace ftte::int8
