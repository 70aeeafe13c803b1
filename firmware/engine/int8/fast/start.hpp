// What the accumulators of a convolution begin with.
#pragma once

#include <cstdint>

#include "engine/int8/fixed.hpp"

namespace ftte::int8::fast {

// What two neighbouring channels begin with, the bias and half a unit of what is stored, and their shifts in bytes 0
// and 1.
struct Start {
  int32_t sum[2];
  uint32_t shifts;
};

// Elements in whole words of four.
constexpr int32_t whole_words(int32_t elements) { return (elements + 3) & ~3; }

// Fills `starts` up to its end.
[[gnu::always_inline]] inline void begin(const int32_t* bias, const int8_t* shift, Start* starts, const Start* end) {
  for (; starts != end; ++starts, bias += 2, shift += 2) {
    starts->sum[0] = bias_in_sum(bias[0]) + ((1 << shift[0]) >> 1);
    starts->sum[1] = bias_in_sum(bias[1]) + ((1 << shift[1]) >> 1);
    starts->shifts = static_cast<uint32_t>(shift[0]) | static_cast<uint32_t>(shift[1]) << 8;
  }
}

}  // namespace ftte::int8::fast
