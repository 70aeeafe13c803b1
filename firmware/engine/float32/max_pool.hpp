// Max-pooling, float32. Conventions as in conv2d.hpp.
#pragma once

#include <cstdint>

#include "engine/shapes.hpp"

namespace ftte::float32 {

// y [out_size] = the greatest under each window; padding never wins, and every window meets x. winners
// [winner_bytes(shape)], packed as shapes.hpp says, gets the winning tap of each, the first of equals; null: none are
// kept. y may begin where x begins if there is no padding above and left.
// Cost: 20 to 30 instructions a tap inside x on an M4F.
void max_pool(const PoolShape& shape, const float* x, float* y, uint8_t* winners);

}  // namespace ftte::float32
