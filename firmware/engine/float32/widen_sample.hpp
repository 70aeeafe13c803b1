// A sample as float32 programs read it.
#pragma once

#include <cstdint>

namespace ftte::float32 {

// x [n] = sample * scale: exact where scale is a power of two.
void widen_sample(int32_t n, const int8_t* sample, float scale, float* x);

}  // namespace ftte::float32
