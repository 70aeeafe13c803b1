// What the gradient of an activation function needs of the forward pass, float32: one bit an element.
#pragma once

#include <cstdint>

#include "engine/float32/range.hpp"

namespace ftte::float32 {

// bits [gate_bytes(n)]: bit i, LSB first, is set where low < y[i] < high; the bounds lowest and max count as infinite.
// The bits after the last element are 0.
void pack_gate(int32_t n, const float* y, Range range, uint8_t* bits);

}  // namespace ftte::float32
