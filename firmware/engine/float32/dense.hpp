// Fully connected layer, float32, and what trains it. Layout as in shapes.hpp; bias [out]. As conv2d.hpp otherwise.
#pragma once

#include <cstdint>

#include "engine/float32/conv2d.hpp"
#include "engine/shapes.hpp"

namespace ftte::float32 {

// y = activation(x W + bias). Cost: in * out products.
void dense(const DenseShape& shape, const float* x, const float* weights, const float* bias, Activation activation,
           float* y);

// gx = W gy, zero where x <= 0 when `x` (the output of a ReLU) is given. gx may be x itself. Call before the update.
// Cost: in * out products.
void dense_input_gradient(const DenseShape& shape, const float* gy, const float* weights, const float* x, float* gx);

// weights -= learning_rate * x gy^T, bias -= learning_rate * gy; no gradient tensor exists. Cost: in * out products.
void dense_update(const DenseShape& shape, float learning_rate, const float* gy, const float* x, float* weights,
                  float* bias);

}  // namespace ftte::float32
