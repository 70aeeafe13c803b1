// Gradient of an activation function, float32.
#pragma once

#include <cstdint>

namespace ftte::float32 {

// y [n] = gy where `gate` (the bits of the activation) is open, else 0. y may be gy.
void gate_gradient(int32_t n, const float* gy, const uint8_t* gate, float* y);

}  // namespace ftte::float32
