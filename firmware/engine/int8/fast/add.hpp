// add (engine/int8/add.hpp) with a scale and range that are constants of a program: the same bits.
//
// With the DSP extension, and lefts of at most 7: four elements at a time, in 16-bit lanes. The bytes are made unsigned
// (128 more), so that shifts to the left stay in their lanes; the sum is then 128 * (2^a_left + 2^b_left) too large,
// which is a multiple of 2^right and is taken off after the shift to the right. Other scales and cores: the general
// kernel.
#pragma once

#include "engine/int8/add.hpp"
#include "engine/int8/fast/dsp.hpp"

namespace ftte::int8::fast {

#ifdef FTTE_DSP

// Of constants kALeft ...: whether sums and what rounding adds fit 16 bits.
constexpr bool fits_16_bits(AddScale scale) {
  const int32_t least = scale.a_left < scale.b_left ? scale.a_left : scale.b_left;
  return scale.a_left <= 7 && scale.b_left <= 7 && scale.right <= 7 + least && scale.right <= 9;
}

// Two elements in 16-bit lanes, clamped to the range.
template <int32_t kLow, int32_t kHigh>
[[gnu::always_inline]] inline uint32_t clamp_two(uint32_t x) {
  if constexpr (kLow == INT8_MIN && kHigh == INT8_MAX) {
    asm("ssat16 %0, #8, %0" : "+r"(x));
  } else if constexpr (kLow == 0 && kHigh == INT8_MAX) {
    asm("usat16 %0, #7, %0" : "+r"(x));
  } else {
    uint32_t t;
    asm("ssub16 %[t], %[x], %[low]\n\t"
        "sel %[x], %[x], %[low]\n\t"
        "ssub16 %[t], %[high], %[x]\n\t"
        "sel %[x], %[x], %[high]"
        : [t] "=&r"(t), [x] "+r"(x)
        : [low] "r"((kLow & 0xFFFF) * 0x10001U), [high] "r"((kHigh & 0xFFFF) * 0x10001U));
  }
  return x;
}

#endif

// Never inlined: a program's calls are counted one by one (bench/compiler/marks.py). On an M4: 6.5 instructions an
// element, or 7.5 in a range other than all of int8 or its upper half.
template <int32_t kALeft, int32_t kBLeft, int32_t kRight, int32_t kLow, int32_t kHigh>
[[gnu::noinline]] void add(int32_t n, const int8_t* a, const int8_t* b, int8_t* y) {
  constexpr AddScale kScale{kALeft, kBLeft, kRight};
#ifdef FTTE_DSP
  if constexpr (fits_16_bits(kScale)) {
    constexpr uint32_t kHalf = ((1U << kRight) >> 1) * 0x10001U;
    constexpr uint32_t kInLane = (0xFFFFU >> kRight) * 0x10001U;
    constexpr uint32_t kExcess = ((128U << kALeft) + (128U << kBLeft)) >> kRight;
    const auto two = [](uint32_t u, uint32_t v) {
      return clamp_two<kLow, kHigh>(
          ssub16(((kHalf + (u << kALeft) + (v << kBLeft)) >> kRight) & kInLane, (kExcess & 0xFFFFU) * 0x10001U));
    };
    for (const int8_t* const end = y + (n & ~3); y != end; a += 4, b += 4, y += 4) {
      const uint32_t u = read32(a) ^ 0x80808080U;
      const uint32_t v = read32(b) ^ 0x80808080U;
      const uint32_t even = two(uxtb16(u), uxtb16(v));
      const uint32_t odd = two(uxtb16_ror8(u), uxtb16_ror8(v));
      write32(y, (even & 0x00FF00FFU) | ((odd & 0x00FF00FFU) << 8));
    }
    n &= 3;
  }
#endif
  if (n != 0) int8::add(n, a, b, kScale, {kLow, kHigh}, y);
}

}  // namespace ftte::int8::fast
