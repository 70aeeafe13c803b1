// Average-pooling, int8: the sum under each window divided by the kernel's taps, padding counted as zeros.
#pragma once

#include <cstdint>

#include "engine/shapes.hpp"

namespace ftte::int8 {

// y = clamp(round(sum / taps * 2^output_lift)), halves up: y's exponent is x's + output_lift, 0 .. 7. The division is a
// product with round(2^23 / taps), taps <= 2^16. y overlaps nothing. Cost: out_size * taps additions.
void avg_pool(const PoolShape& shape, const int8_t* x, int8_t output_lift, int8_t* y);

}  // namespace ftte::int8
