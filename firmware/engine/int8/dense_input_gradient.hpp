// Gradient of a fully connected layer with respect to its input: gx = W gy, masked by the ReLU before it.
//
// As conv2d_input_gradient: two passes, exponent found on the way, `x` null or the ReLU's output. Call before the
// update.
#pragma once

#include <cstdint>

#include "engine/int8/dense.hpp"

namespace ftte::int8 {

// gy int8 [out] with gy_exponent; weights int8 [in, out]; x null or int8 [in]. Writes gx int8 [in], returns its
// exponent. gx may be x itself, nothing else. Cost: 2 * in * out products.
int32_t dense_input_gradient(const DenseShape& shape, const int8_t* gy, int32_t gy_exponent, const int8_t* weights,
                             int32_t weights_exponent, const int8_t* x, int8_t* gx);

}  // namespace ftte::int8
