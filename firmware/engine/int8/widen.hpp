// A stored map as the 32-bit logits that a loss reads; the exponent stays.
#pragma once

#include <cstdint>

namespace ftte::int8 {

// y [n] = x [n]. Overlaps nothing.
void widen(int32_t n, const int8_t* x, int32_t* y);

}  // namespace ftte::int8
