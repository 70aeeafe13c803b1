// The derivative of an activation whose gradient comes as it is stored: max-pooling and the like pass it on unscaled.
#pragma once

#include <cstdint>

namespace ftte::int8 {

// y int8 [n] = gy where the gate (bits, one an element, LSB first) is open, else 0; the exponent stays. y may be gy.
void gate_gradient(int32_t n, const int8_t* gy, const uint8_t* gate, int8_t* y);

}  // namespace ftte::int8
