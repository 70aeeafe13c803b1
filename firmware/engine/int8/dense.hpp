// Fully connected layer, int8: y = activation(x W + b), or its raw accumulators for a softmax.
//
// Layout as in shapes.hpp; bias int32 [out] with exponent (x + weights) + kBiasBits. The sums are those of a 1x1
// convolution of a 1x1 map.
#pragma once

#include <cstdint>

#include "engine/int8/conv2d.hpp"

namespace ftte::int8 {

// y int8 [out]: rounded by `shift` (exponents of x + weights - y, 0 .. 30), halves up, and clipped as conv2d does.
// y overlaps nothing. Cost: in * out products.
void dense(const DenseShape& shape, const int8_t* x, const int8_t* weights, const int32_t* bias, int32_t shift,
           Activation activation, int8_t* y);

// logits int32 [out] with exponent (x + weights): the accumulators themselves, nothing rounded but the bias.
void dense_logits(const DenseShape& shape, const int8_t* x, const int8_t* weights, const int32_t* bias,
                  int32_t* logits);

}  // namespace ftte::int8
