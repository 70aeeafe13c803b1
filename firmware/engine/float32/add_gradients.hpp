// Sum of two gradients of one map, which several nodes read, float32. Conventions as in conv2d.hpp.
#pragma once

#include <cstdint>

namespace ftte::float32 {

// y [n] = a + b, 0 where `gate` (the bits of the map's activation; null: none) is closed. y may be a or b.
void add_gradients(int32_t n, const float* a, const float* b, const uint8_t* gate, float* y);

}  // namespace ftte::float32
