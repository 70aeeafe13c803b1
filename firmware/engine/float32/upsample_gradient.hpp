// Gradient of nearest-neighbour upsampling, float32. Conventions as in conv2d.hpp.
#pragma once

#include <cstdint>

#include "engine/shapes.hpp"

namespace ftte::float32 {

// gx [in_h][in_w][channels] = the sum of gy over the repetitions of each input, row by row; 0 where `gate` (the bits of
// x's activation; null: none) is closed. Cost: out_h * out_w * channels additions.
void upsample_gradient(const UpsampleShape& shape, const float* gy, const uint8_t* gate, float* gx);

}  // namespace ftte::float32
