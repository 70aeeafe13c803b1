// Average-pooling, float32. Conventions as in conv2d.hpp.
#pragma once

#include <cstdint>

#include "engine/shapes.hpp"

namespace ftte::float32 {

// y [out_size] = the sum under each window, row by row, times 1 / taps: padding counts as zeros.
// Cost: out_size * taps additions, fewer where the window leaves x.
void avg_pool(const PoolShape& shape, const float* x, float* y);

}  // namespace ftte::float32
