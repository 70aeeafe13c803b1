// Gradient of max-pooling, float32. Conventions as in conv2d.hpp.
#pragma once

#include <cstdint>

#include "engine/shapes.hpp"

namespace ftte::float32 {

// gx [in_size] = the sum of gy over the windows that each input won, in their order; 0 where `gate` (the bits of x's
// activation; null: none) is closed. winners [winner_bytes(shape)] are those that max_pool wrote.
// Cost: about 25 instructions an output and, with a gate, 12 an input on an M4F.
void max_pool_gradient(const PoolShape& shape, const float* gy, const uint8_t* winners, const uint8_t* gate, float* gx);

}  // namespace ftte::float32
