// Sum of two gradients of one map, which several nodes read, int8.
//
// The coarser of the two (the smaller exponent) is widened by 8 bits, the other brought to that exponent, rounded only
// if it is finer still; so a sum is below 2^16, rounded to its stored form once, and its peak does not depend on how
// far the two exponents are apart.
#pragma once

#include <cstdint>

#include "engine/int8/gradient_scale.hpp"

namespace ftte::int8 {

// a, b int8 [n] with exponents of any distance; gate null or bits of the map; peak of this map.
// Writes y int8 [n], 0 where the gate is closed, renews the peak, and returns the exponent of y. y may be a or b.
// Cost: about 40 instructions an element on an M4.
int32_t add_gradients(Sgd& sgd, int32_t n, const int8_t* a, int32_t a_exponent, const int8_t* b, int32_t b_exponent,
                      const uint8_t* gate, uint32_t* peak, int8_t* y);

}  // namespace ftte::int8
