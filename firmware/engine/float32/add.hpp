// Sum of two maps with an activation, float32. Conventions as in conv2d.hpp.
#pragma once

#include <cstdint>

#include "engine/float32/range.hpp"

namespace ftte::float32 {

// y [n] = clamp(a + b). y may be a or b.
void add(int32_t n, const float* a, const float* b, Range range, float* y);

}  // namespace ftte::float32
