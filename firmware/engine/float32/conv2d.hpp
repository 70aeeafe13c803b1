// Two-dimensional convolution with bias and an optional ReLU, float32, and what trains it.
//
// Layout as in shapes.hpp; bias [out_c]. Sums are in float32 in the order in which the operands lie, so that builds
// without contraction into fused multiply-add (-ffp-contract=off) give the same bits everywhere. No kernel's arguments
// overlap unless it says so.
#pragma once

#include <cstdint>

#include "engine/float32/activation.hpp"
#include "engine/shapes.hpp"

namespace ftte::float32 {

// y = activation(x * weights + bias). patch [patch_size] is scratch: the window's content.
// Cost: out_size * patch_size products, also where the window leaves x.
void conv2d(const Conv2dShape& shape, const float* x, const float* weights, const float* bias, Activation activation,
            float* patch, float* y);

// gx = gradient with respect to x, zero where x <= 0 when `x` (the output of a ReLU) is given. gx may be x itself.
// Call before the update. Cost: the forward pass's products.
void conv2d_input_gradient(const Conv2dShape& shape, const float* gy, const float* weights, const float* x, float* gx);

// weights -= learning_rate * gradient, likewise bias; no gradient tensor exists. Cost: the forward pass's products.
void conv2d_update(const Conv2dShape& shape, float learning_rate, const float* gy, const float* x, float* weights,
                   float* bias);

}  // namespace ftte::float32
