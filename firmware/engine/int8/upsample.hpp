// Nearest-neighbour upsampling, int8: y[i][j] = x[i / factor][j / factor]. One exponent.
#pragma once

#include <cstdint>

#include "engine/shapes.hpp"

namespace ftte::int8 {

// y [out_h, out_w, channels] overlaps nothing. Cost: a copy of y.
void upsample(const UpsampleShape& shape, const int8_t* x, int8_t* y);

}  // namespace ftte::int8
