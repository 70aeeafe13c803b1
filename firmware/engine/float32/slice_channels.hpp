// The first channels of a map, float32: what a layer that trains only those keeps of its input.
#pragma once

#include <cstdint>

namespace ftte::float32 {

// y [positions][kept] = the first `kept` of x [positions][channels]. y may be x.
void slice_channels(int32_t positions, int32_t channels, int32_t kept, const float* x, float* y);

}  // namespace ftte::float32
