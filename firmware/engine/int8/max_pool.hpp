// Max-pooling over 2x2 windows with stride 2, int8, and its gradient. Layout as in shapes.hpp.
#pragma once

#include <cstdint>

#include "engine/shapes.hpp"

namespace ftte::int8 {

// Writes y [out_size] and winners [winner_bytes]. y may begin where x begins (an element is written after the last that
// needs its place was read); otherwise no aliasing. Same exponent in and out. Cost: about 40 instructions a window on
// an M4.
void max_pool(const PoolShape& shape, const int8_t* x, int8_t* y, uint8_t* winners);

// gx [in_size] = gy at each window's winner, 0 elsewhere. Same exponent in and out. gy may be the last out_size bytes
// of gx's room when h and w are even (each element is read before its place is written); otherwise no aliasing.
void max_pool_gradient(const PoolShape& shape, const int8_t* gy, const uint8_t* winners, int8_t* gx);

}  // namespace ftte::int8
