// Weight gradient of a fully connected layer, dw = x gy^T, fused with its update: no gradient tensor exists.
#pragma once

#include <cstdint>

#include "engine/int8/conv2d_update.hpp"
#include "engine/int8/dense.hpp"

namespace ftte::int8 {

// gy int8 [out] with gy_exponent; x int8 [in] with x_exponent; weights [in, out]. The rest is as in conv2d_update.
// Cost: in * out WeightUpdates and products.
void dense_update(const DenseShape& shape, Sgd& sgd, uint32_t stream, const int8_t* gy, int32_t gy_exponent,
                  const int8_t* x, int32_t x_exponent, const WeightTensor& weights);

}  // namespace ftte::int8
