// What lies under the window of a convolution, in one piece.
#pragma once

#include "engine/int8/fast/dsp.hpp"
#include "engine/shapes.hpp"
#include "engine/window.hpp"

namespace ftte::int8::fast {

// Bytes that one access takes from any address.
#ifdef __ARM_FEATURE_UNALIGNED
inline constexpr int32_t kAtOnce = 4;
#else
inline constexpr int32_t kAtOnce = 1;
#endif

// Copies `bytes` bytes; they may lie anywhere.
[[gnu::always_inline]] inline int8_t* copy(const int8_t* from, int32_t bytes, int8_t* to) {
  if constexpr (kAtOnce == 4) {
    for (; bytes >= 4; bytes -= 4, from += 4, to += 4) write32(to, read32(from));
  }
  for (; bytes > 0; --bytes) *to++ = *from++;
  return to;
}

[[gnu::always_inline]] inline int8_t* clear(int32_t bytes, int8_t* to) {
  if constexpr (kAtOnce == 4) {
    for (; bytes >= 4; bytes -= 4, to += 4) write32(to, 0);
  }
  for (; bytes > 0; --bytes) *to++ = 0;
  return to;
}

// What lies under the window whose corner is (y, x), which may reach outside; zeros there.
template <class Layer>
void gather(int32_t in_h, int32_t y, int32_t x, const int8_t* map, int8_t* window) {
  constexpr Conv2dShape s = Layer::kShape;
  const auto columns = taps_inside(x, s.kernel_w, s.in_w);
  const int8_t* from = map + (y * s.in_w + x) * s.in_c;
  for (int32_t ky = 0; ky < s.kernel_h; ++ky, from += s.in_w * s.in_c) {
    if (y + ky < 0 || y + ky >= in_h) {
      window = clear(s.kernel_w * s.in_c, window);
    } else if (columns.size() == s.kernel_w) {
      window = copy(from, s.kernel_w * s.in_c, window);
    } else {
      window = clear(columns.first * s.in_c, window);
      window = copy(from + columns.first * s.in_c, columns.size() * s.in_c, window);
      window = clear((s.kernel_w - columns.last) * s.in_c, window);
    }
  }
}

}  // namespace ftte::int8::fast
