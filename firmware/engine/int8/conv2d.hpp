// Two-dimensional convolution with bias and activation, int8; with a kernel that covers its whole input, a fully
// connected layer. Layouts as in shapes.hpp; bias int32 [out_c] with the sums' exponent (x's plus the channel's) plus
// kBiasBits.
//
//   sum[o] = round(bias[o] * 2^-kBiasBits) + sum over the window of x * w[o]
//   y[oy][ox][o] = clamp(round(sum[o] * 2^-shifts[o])), halves up
//
// The window's content is gathered into `scratch` once a position (conv2d_scratch elements; where that is 0, read in x
// itself), so that padding costs nothing in the products. Each output channel's weights lie in one row.
// Cost: out_size * taps * group_in products, also where the window leaves x.
#pragma once

#include <cstdint>

#include "engine/int8/range.hpp"
#include "engine/shapes.hpp"

namespace ftte::int8 {

// shifts int8 [out_c], 0 .. 30. y [out_h, out_w, out_c] overlaps nothing. |sum| < 2^30 (taps * group_in <= 2^15).
void conv2d(const Conv2dShape& shape, const int8_t* x, const Weights<int8_t>& weights, const int32_t* bias,
            const int8_t* shifts, Range range, int8_t* scratch, int8_t* y);

// The sums themselves, int32 [out_h, out_w, out_c]: for a loss.
void conv2d_logits(const Conv2dShape& shape, const int8_t* x, const Weights<int8_t>& weights, const int32_t* bias,
                   int8_t* scratch, int32_t* y);

}  // namespace ftte::int8
