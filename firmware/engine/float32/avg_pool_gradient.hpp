// Gradient of average-pooling, float32. Conventions as in conv2d.hpp.
#pragma once

#include <cstdint>

#include "engine/shapes.hpp"

namespace ftte::float32 {

// gx [in_size] = the sum of gy over the windows that cover each input, the last first, times 1 / taps; 0 where `gate`
// (the bits of x's activation; null: none) is closed. Cost: at most out_size * taps additions.
void avg_pool_gradient(const PoolShape& shape, const float* gy, const uint8_t* gate, float* gx);

}  // namespace ftte::float32
