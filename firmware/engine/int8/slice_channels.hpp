// Keeps the first channels of a map: what a sparse weight gradient will read of it.
#pragma once

#include <cstdint>

namespace ftte::int8 {

// y [positions, kept] = x [positions, channels], first `kept` channels. y may be x. Cost: a copy of y.
void slice_channels(int32_t positions, int32_t channels, int32_t kept, const int8_t* x, int8_t* y);

}  // namespace ftte::int8
