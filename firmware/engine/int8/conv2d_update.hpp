// Weight gradient of a convolution, fused with its update: no gradient tensor exists.
//
//   dw[o][ky][kx][i] = sum over oy, ox of gy[oy][ox][o] * x[oy * stride_h + ky - pad_top][ox * stride_w + kx -
//   pad_left]
//                      [i of o's group]
//   w -= learning rate * dw, by the rule of update.hpp, which also shows that the sums fit
//
// One output channel at a time, as each has its exponent; of it, blocks of weights whose inputs lie side by side, so
// that one load of gy serves the block. Where a kernel covers its whole input (a fully connected layer), each weight
// has one product and rows run through.
#pragma once

#include <cstdint>

#include "engine/int8/update.hpp"
#include "engine/shapes.hpp"

namespace ftte::int8 {

// gy int8 [out_h][out_w][out_c] with gy_exponent; x int8 [in_h][in_w][x_channels] with x_exponent, as in the forward
// pass: all in_c channels or, where groups == 1, the first trained_in. weights [out_c][kernel_h][kernel_w][trained_in];
// out_h * out_w <= 2^17. Clipped weights are added to sgd.saturated. No aliasing. The bias is update_bias's.
// Cost: at most out_size * taps * trained_in products (about 11 instructions for four on an M4), and one step a weight.
template <class Rule>
void conv2d_update(Sgd& sgd, uint32_t stream, const Conv2dShape& shape, const int8_t* gy, int32_t gy_exponent,
                   const int8_t* x, int32_t x_exponent, int32_t x_channels, const TrainedWeights<Rule>& weights);

}  // namespace ftte::int8
