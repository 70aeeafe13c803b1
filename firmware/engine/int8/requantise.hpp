// From an accumulator to a stored output.
#pragma once

#include <cstdint>

#include "engine/int8/fixed.hpp"
#include "engine/int8/range.hpp"

namespace ftte::int8 {

// clamp(round(sum * 2^-shift)), halves up; 0 <= shift <= 30, |sum| + 2^29 within int32.
[[gnu::always_inline]] inline int8_t requantise(int32_t sum, int32_t shift, Range range) {
  return static_cast<int8_t>(clamp(round_shift(sum, shift), range.low, range.high));
}

}  // namespace ftte::int8
