// The DSP extension's instructions (Cortex-M4, M7, M33) under plain names, and in C++ for cores without it.
//
// FTTE_DSP says that the extension is there. FTTE_BLOCKS says that kernels work on blocks: on every Cortex-M; the host
// takes the general kernels.
#pragma once

#include <cstdint>
#include <cstring>

#if defined(__ARM_FEATURE_DSP) && defined(__thumb2__)
#define FTTE_DSP 1
#include <arm_acle.h>
#endif
#if defined(__thumb__)
#define FTTE_BLOCKS 1
#endif

namespace ftte::int8::fast {

// Four bytes from any address.
[[gnu::always_inline]] inline uint32_t read32(const void* from) {
  uint32_t word;
  std::memcpy(&word, from, sizeof word);
  return word;
}

[[gnu::always_inline]] inline void write32(void* to, uint32_t word) { std::memcpy(to, &word, sizeof word); }

#ifdef FTTE_DSP

// Bytes 0 and 2 as two int16.
[[gnu::always_inline]] inline uint32_t sxtb16(uint32_t x) {
  uint32_t y;
  asm("sxtb16 %0, %1" : "=r"(y) : "r"(x));
  return y;
}

// Bytes 1 and 3 as two int16.
[[gnu::always_inline]] inline uint32_t sxtb16_ror8(uint32_t x) {
  uint32_t y;
  asm("sxtb16 %0, %1, ror #8" : "=r"(y) : "r"(x));
  return y;
}

// sum + sxtb16(x), in both halves.
[[gnu::always_inline]] inline uint32_t sxtab16(uint32_t sum, uint32_t x) {
  uint32_t y;
  asm("sxtab16 %0, %1, %2" : "=r"(y) : "r"(sum), "r"(x));
  return y;
}

// sum + sxtb16_ror8(x), in both halves.
[[gnu::always_inline]] inline uint32_t sxtab16_ror8(uint32_t sum, uint32_t x) {
  uint32_t y;
  asm("sxtab16 %0, %1, %2, ror #8" : "=r"(y) : "r"(sum), "r"(x));
  return y;
}

// Bytes 0 and 2 as two uint16.
[[gnu::always_inline]] inline uint32_t uxtb16(uint32_t x) {
  uint32_t y;
  asm("uxtb16 %0, %1" : "=r"(y) : "r"(x));
  return y;
}

// Bytes 1 and 3 as two uint16.
[[gnu::always_inline]] inline uint32_t uxtb16_ror8(uint32_t x) {
  uint32_t y;
  asm("uxtb16 %0, %1, ror #8" : "=r"(y) : "r"(x));
  return y;
}

// a - b, in both halves.
[[gnu::always_inline]] inline uint32_t ssub16(uint32_t a, uint32_t b) {
  uint32_t y;
  asm("ssub16 %0, %1, %2" : "=r"(y) : "r"(a), "r"(b));
  return y;
}

// low's low half; above it high's low half.
[[gnu::always_inline]] inline uint32_t pkhbt(uint32_t low, uint32_t high) {
  uint32_t y;
  asm("pkhbt %0, %1, %2, lsl #16" : "=r"(y) : "r"(low), "r"(high));
  return y;
}

// low's high half; above it high's high half.
[[gnu::always_inline]] inline uint32_t pkhtb(uint32_t low, uint32_t high) {
  uint32_t y;
  asm("pkhtb %0, %1, %2, asr #16" : "=r"(y) : "r"(high), "r"(low));
  return y;
}

// sum + low * low + high * high
[[gnu::always_inline]] inline int32_t smlad(uint32_t a, uint32_t b, int32_t sum) {
  int32_t y;
  asm("smlad %0, %1, %2, %3" : "=r"(y) : "r"(a), "r"(b), "r"(sum));
  return y;
}

#else

constexpr uint32_t two_halves(int32_t low, int32_t high) {
  return static_cast<uint16_t>(low) | static_cast<uint32_t>(high) << 16;
}
constexpr uint32_t pkhbt(uint32_t low, uint32_t high) { return (low & 0xFFFFU) | high << 16; }
constexpr uint32_t pkhtb(uint32_t low, uint32_t high) { return low >> 16 | (high & 0xFFFF0000U); }
constexpr uint32_t sxtb16(uint32_t x) { return two_halves(static_cast<int8_t>(x), static_cast<int8_t>(x >> 16)); }
constexpr uint32_t sxtb16_ror8(uint32_t x) { return sxtb16(x >> 8); }

#endif

}  // namespace ftte::int8::fast
