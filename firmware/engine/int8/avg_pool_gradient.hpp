// Gradient of average-pooling, int8.
//
//   gx[iy][ix][c] = (sum of gy[oy][ox][c] over the windows that cover the input) / taps
//
// The sum is multiplied by round(2^23 / taps), 23 bits below the exponent of gy (relative error at most taps * 2^-24):
// at most `taps` windows cover an input, so that |product| <= 127 * 2^23 and a rounding, whatever the kernel's size.
#pragma once

#include <cstdint>

#include "engine/int8/gradient_scale.hpp"
#include "engine/shapes.hpp"

namespace ftte::int8 {

// gy int8 [out_h][out_w][channels] with gy_exponent; taps <= 2^16; gate null or bits of [in_h][in_w][channels].
// Writes gx int8 [in_h][in_w][channels], renews the peak, and returns the exponent of gx. gx overlaps nothing.
// Cost: at most out_size * taps additions and a store for each element.
int32_t avg_pool_gradient(Sgd& sgd, const PoolShape& shape, const int8_t* gy, int32_t gy_exponent, const uint8_t* gate,
                          uint32_t* peak, int8_t* gx);

}  // namespace ftte::int8
