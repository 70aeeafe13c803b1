// Weight gradient of a convolution, fused with its update: no gradient tensor exists.
//
//   dw[ky][kx][i][o] = sum over oy, ox of gy[oy][ox][o] * x[oy * stride + ky - pad][ox * stride + kx - pad][i]
//   w -= learning rate * dw, in the fine grid of update.hpp
#pragma once

#include <cstdint>

#include "engine/int8/conv2d.hpp"

namespace ftte::int8 {

struct WeightTensor {
  int8_t* values;     // q, laid out as the layer says
  int8_t* residuals;  // r, laid out alike
  int32_t exponent;   // of q
};

// gy int8 [out_h, out_w, out_c] with gy_exponent; x int8 [in_h, in_w, in_c] with x_exponent, as in the forward pass.
// The weights take their random numbers in the order in which they lie, from the stream `stream` (a layer's number).
// Clipped weights are added to sgd.saturated. No aliasing. The bias is update_bias's.
// Cost: as the forward pass, plus one WeightUpdate a weight.
void conv2d_update(const Conv2dShape& shape, Sgd& sgd, uint32_t stream, const int8_t* gy, int32_t gy_exponent,
                   const int8_t* x, int32_t x_exponent, const WeightTensor& weights);

}  // namespace ftte::int8
