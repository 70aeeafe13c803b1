// Gradient of max-pooling, int8: each window's goes to the input that won it.
//
// Where windows do not overlap, an input gets at most one value: gx is cleared and the values are scattered, with their
// exponent. Where they do, each input sums over the windows that it won among those that cover it (at most `taps`), and
// the sums are stored as gradient_scale.hpp says.
#pragma once

#include <cstdint>

#include "engine/int8/gradient_scale.hpp"
#include "engine/shapes.hpp"

namespace ftte::int8 {

// gy int8 [out_h][out_w][channels] with gy_exponent; winners packed as max_pool has written them (shapes.hpp), taps <=
// 256; gate null or bits of [in_h][in_w][channels]; peak of this map, not read where windows do not overlap.
// Writes gx int8 [in_h][in_w][channels] and returns its exponent. gx overlaps nothing.
// Cost: without overlap about 20 instructions an output, 2 an input; with it, about 12 for each window that covers an
// input, and a store for each input.
int32_t max_pool_gradient(Sgd& sgd, const PoolShape& shape, const int8_t* gy, int32_t gy_exponent,
                          const uint8_t* winners, const uint8_t* gate, uint32_t* peak, int8_t* gx);

}  // namespace ftte::int8
