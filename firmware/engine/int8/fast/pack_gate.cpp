#include "engine/int8/fast/pack_gate.hpp"

#include "engine/int8/fast/dsp.hpp"

namespace ftte::int8::fast {

#ifdef FTTE_DSP

namespace {

// A byte in each of the four.
constexpr uint32_t four_times(int32_t byte) { return static_cast<uint8_t>(byte) * 0x01010101U; }

// sum + those bytes of `wanted` whose elements lie in [low, high]; both come four times.
[[gnu::always_inline]] inline uint32_t add_inside(uint32_t sum, uint32_t elements, uint32_t low, uint32_t high,
                                                  uint32_t wanted) {
  uint32_t t;
  asm("ssub8 %[t], %[elements], %[low]\n\t"
      "sel %[t], %[wanted], %[none]\n\t"
      "ssub8 %[elements], %[high], %[elements]\n\t"
      "sel %[t], %[t], %[none]\n\t"
      "usada8 %[sum], %[t], %[none], %[sum]"
      : [t] "=&r"(t), [elements] "+r"(elements), [sum] "+r"(sum)
      : [low] "r"(low), [high] "r"(high), [wanted] "r"(wanted), [none] "r"(0));
  return sum;
}

}  // namespace

void pack_gate(int32_t n, const int8_t* y, Range range, uint8_t* bits) {
  // low < 127, and high > -128 in every range of an activation.
  const uint32_t low = four_times(range.low + 1);
  const uint32_t high = four_times(range.high == INT8_MAX ? INT8_MAX : range.high - 1);
  const int8_t* const end = y + (n & ~7);
  for (; y != end; y += 8) {
    const uint32_t first = add_inside(0, read32(y), low, high, 0x08040201U);
    *bits++ = static_cast<uint8_t>(add_inside(first, read32(y + 4), low, high, 0x80402010U));
  }
  if ((n & 7) != 0) int8::pack_gate(n & 7, y, range, bits);
}

#else

void pack_gate(int32_t n, const int8_t* y, Range range, uint8_t* bits) { int8::pack_gate(n, y, range, bits); }

#endif

}  // namespace ftte::int8::fast
