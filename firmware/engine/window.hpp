// Which taps of a kernel meet the map: the only place where padding is dealt with.
#pragma once

#include <cstdint>

namespace ftte {

struct Range {
  int32_t first, last;  // [first, last)
  constexpr int32_t size() const { return last - first; }
};

// Taps k of a kernel of size `kernel` for which 0 <= origin + k < extent.
constexpr Range taps_inside(int32_t origin, int32_t kernel, int32_t extent) {
  const int32_t first = origin < 0 ? -origin : 0;
  const int32_t last = origin + kernel > extent ? extent - origin : kernel;
  return {first, last < first ? first : last};
}

// Outputs o in [0, outputs) for which tap k reads inside the input: 0 <= o * stride + k - pad < extent.
// The bounds are found by stepping: an M0 has no division.
constexpr Range outputs_inside(int32_t tap, int32_t stride, int32_t pad, int32_t extent, int32_t outputs) {
  int32_t first = 0;
  while (first < outputs && first * stride + tap - pad < 0) ++first;
  int32_t last = outputs;
  while (last > first && (last - 1) * stride + tap - pad >= extent) --last;
  return {first, last};
}

// The outputs that one input coordinate feeds, walked downwards: o = newest, newest - 1, ... with tap, tap + stride,
// ...
struct Reach {
  int32_t newest, tap;
};

// Steps a Reach from one input coordinate to the next: newest = (i + pad) / stride, tap the remainder.
constexpr void advance(Reach& reach, int32_t stride) {
  if (++reach.tap == stride) {
    reach.tap = 0;
    ++reach.newest;
  }
}

constexpr Reach first_reach(int32_t pad, int32_t stride) {
  Reach reach{0, 0};
  for (int32_t i = 0; i < pad; ++i) advance(reach, stride);
  return reach;
}

// Without the outputs beyond the last, which exist where the stride leaves input at the end unused.
constexpr Reach clipped(Reach reach, int32_t outputs, int32_t stride) {
  while (reach.newest >= outputs) {
    --reach.newest;
    reach.tap += stride;
  }
  return reach;
}

}  // namespace ftte
