// The sum of two maps with an activation, int8: their exponents are brought together by shifts.
#pragma once

#include <cstdint>

#include "engine/int8/range.hpp"

namespace ftte::int8 {

// Lefts 0 .. 15 bring both terms to the finest exponent, `right` 0 .. 22 brings the sum to y's.
struct AddScale {
  int8_t a_left, b_left, right;
};

// y[i] = clamp(round(((a[i] << a_left) + (b[i] << b_left)) * 2^-right)), halves up, i < n. y may be a or b.
void add(int32_t n, const int8_t* a, const int8_t* b, AddScale scale, Range range, int8_t* y);

}  // namespace ftte::int8
