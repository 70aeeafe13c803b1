// Nearest-neighbour upsampling, float32. Conventions as in conv2d.hpp.
#pragma once

#include <cstdint>

#include "engine/shapes.hpp"

namespace ftte::float32 {

// y [out_h][out_w][channels]: y[oy][ox] = x[oy / factor][ox / factor].
void upsample(const UpsampleShape& shape, const float* x, float* y);

}  // namespace ftte::float32
