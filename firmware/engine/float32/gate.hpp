// Gates: one bit an element of a map, LSB first, that lets the gradient of that element pass.
#pragma once

#include <cstdint>

#include "engine/float32/bits.hpp"

namespace ftte::float32 {

// value where the gate of element `index` is open or there is no gate (null), else 0.
inline float gated(float value, const uint8_t* gate, int32_t index) {
  if (gate == nullptr) return value;
  const int32_t open = (gate[index >> 3] >> (index & 7)) & 1;
  return from_bits(bits_of(value) & -open);
}

}  // namespace ftte::float32
