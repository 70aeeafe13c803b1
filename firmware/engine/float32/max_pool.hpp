// Max-pooling over 2x2 windows with stride 2, float32, and its gradient. Layout as in shapes.hpp.
#pragma once

#include <cstdint>

#include "engine/shapes.hpp"

namespace ftte::float32 {

// Writes y [out_size] and winners [winner_bytes]. y may begin where x begins; otherwise no aliasing.
void max_pool(const PoolShape& shape, const float* x, float* y, uint8_t* winners);

// gx [in_size] = gy at each window's winner, 0 elsewhere. gy may be the last out_size elements of gx's room when h and
// w are even (each element is read before its place is written); otherwise no aliasing.
void max_pool_gradient(const PoolShape& shape, const float* gy, const uint8_t* winners, float* gx);

}  // namespace ftte::float32
