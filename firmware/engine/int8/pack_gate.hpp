// The derivative of an activation, one bit an element: open where its output lies strictly inside the range.
#pragma once

#include <cstdint>

#include "engine/int8/range.hpp"

namespace ftte::int8 {

// Bit i (LSB first) of bits [gate_bytes(n)] is set where range.low < y[i], and y[i] < range.high unless that is 127: a
// ReLU has no upper bound but the number format's. Overlaps nothing. Cost: about 7 instructions an element.
void pack_gate(int32_t n, const int8_t* y, Range range, uint8_t* bits);

}  // namespace ftte::int8
