// Max-pooling, int8. Padding never wins; x and y have one exponent.
#pragma once

#include <cstdint>

#include "engine/shapes.hpp"

namespace ftte::int8 {

// Writes y [out_h, out_w, channels] and, unless null, each window's winner (see PoolShape): the first of equals. y may
// begin where x begins if there is no padding (an element is written after the last that needs its place was read);
// otherwise no aliasing. Cost: out_size * taps comparisons, about seven instructions each.
void max_pool(const PoolShape& shape, const int8_t* x, int8_t* y, uint8_t* winners);

}  // namespace ftte::int8
