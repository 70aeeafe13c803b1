// Gates, one bit an element, on eight floats at a time.
#pragma once

#include "engine/float32/gate.hpp"
#include "vectors.hpp"

namespace ftte::host {

// map[i] = 0 where the gate of element i is closed; nothing without a gate (null).
inline void apply_gate(int32_t n, const uint8_t* gate, float* map) {
  if (gate == nullptr) return;
  constexpr Vector<int32_t> kBits = {1, 2, 4, 8, 16, 32, 64, 128};
  int32_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    const Vector<int32_t> open = (all<int32_t>(gate[i / kLanes]) & kBits) != 0;
    Vector<int32_t> bits;
    std::memcpy(&bits, map + i, sizeof bits);
    bits &= open;
    std::memcpy(map + i, &bits, sizeof bits);
  }
  for (; i < n; ++i) map[i] = float32::gated(map[i], gate, i);
}

}  // namespace ftte::host
