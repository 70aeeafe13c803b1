// Gradient of nearest-neighbour upsampling, int8: each input's is the sum over its factor x factor copies.
#pragma once

#include <cstdint>

#include "engine/int8/gradient_scale.hpp"
#include "engine/shapes.hpp"

namespace ftte::int8 {

// gy int8 [out_h][out_w][channels] with gy_exponent; where out_h or out_w cut off the last copies, those that exist
// count. factor <= 2^8. gate null or bits of [in_h][in_w][channels].
// Writes gx int8 [in_h][in_w][channels], renews the peak, and returns the exponent of gx. gx overlaps nothing.
// Cost: out_size additions and a store for each element. Sums stay below 127 * 2^16.
int32_t upsample_gradient(Sgd& sgd, const UpsampleShape& shape, const int8_t* gy, int32_t gy_exponent,
                          const uint8_t* gate, uint32_t* peak, int8_t* gx);

}  // namespace ftte::int8
