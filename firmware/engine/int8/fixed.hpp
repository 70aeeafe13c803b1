// Integer arithmetic shared by the int8 kernels: the same bits on every core and on the host.
//
// Numbers. A stored integer v with exponent e stands for v * 2^-e. Activations and weights are int8 with a fixed
// exponent a tensor; gradients are int8 with an exponent found anew in each step. Accumulators are int32. Biases are
// int32 too, 2^kBiasBits times finer than the sums that they add to: a step of training is much smaller than those'
// unit, and rounding it to that, however fairly, adds more noise than signal.
//
// Everything here is free of branches that depend on data, so that a step always executes the same instructions. The
// Cortex-M0 has no divide, no 64-bit multiply and no conditional execution: hence the masks. Right shifts of negative
// values are arithmetic (implementation-defined in C++17, the same in every compiler used here, and asserted).
#pragma once

#include <cstdint>

#ifdef __ARM_FEATURE_SAT
#include <arm_acle.h>
#endif

namespace ftte::int8 {

static_assert((-1 >> 1) == -1, "right shift of a negative value must be arithmetic");

// value * 2^-shift, halves rounded up. 0 <= shift <= 30; |value| + 2^(shift-1) must fit int32.
constexpr int32_t round_shift(int32_t value, int32_t shift) { return (value + ((1 << shift) >> 1)) >> shift; }

inline constexpr int32_t kBiasBits = 8;

// A bias as it enters a sum.
constexpr int32_t bias_in_sum(int32_t bias) { return round_shift(bias, kBiasBits); }

// max(value, low) without a branch; |value - low| must fit int32.
constexpr int32_t at_least(int32_t value, int32_t low) {
  const int32_t above = value - low;
  return low + (above & ~(above >> 31));
}

// min(value, high) without a branch; |high - value| must fit int32.
constexpr int32_t at_most(int32_t value, int32_t high) {
  const int32_t below = high - value;
  return high - (below & ~(below >> 31));
}

constexpr int32_t clamp(int32_t value, int32_t low, int32_t high) { return at_most(at_least(value, low), high); }

// The nearest int16 to a value; one instruction from ARMv7-M on.
inline int32_t saturate16(int32_t value) {
#ifdef __ARM_FEATURE_SAT
  return __ssat(value, 16);
#else
  const int32_t outside = (value + 0x8000) >> 16;  // 0 when value fits
  const int32_t limit = (value >> 31) ^ INT16_MAX;
  return value ^ ((value ^ limit) & ((outside | -outside) >> 31));
#endif
}

// 1 when a and b differ, else 0.
constexpr uint32_t differs(int32_t a, int32_t b) {
  const uint32_t x = static_cast<uint32_t>(a) ^ static_cast<uint32_t>(b);
  return (x | (0U - x)) >> 31;
}

// |value|, as unsigned.
constexpr uint32_t magnitude(int32_t value) {
  const int32_t sign = value >> 31;
  return static_cast<uint32_t>((value ^ sign) - sign);
}

// The larger of two values below 2^31.
constexpr uint32_t larger(uint32_t a, uint32_t b) {
  return static_cast<uint32_t>(at_least(static_cast<int32_t>(a), static_cast<int32_t>(b)));
}

// 1 when a < b, else 0: the borrow of a - b (Warren, Hacker's Delight, 2-13).
constexpr uint32_t below(uint32_t a, uint32_t b) { return ((~a & b) | (~(a ^ b) & (a - b))) >> 31; }

// The smaller of two values.
constexpr uint32_t smaller(uint32_t a, uint32_t b) { return b ^ ((a ^ b) & (0U - below(a, b))); }

// Position of the highest set bit + 1; 0 for 0. By bisection, always five steps: libgcc's for the M0 branches.
constexpr int32_t bit_length(uint32_t value) {
  int32_t length = 0;
  for (int32_t step = 16; step != 0; step >>= 1) {
    const uint32_t high = value >> step;
    const int32_t taken = static_cast<int32_t>((high | (0U - high)) >> 31) * step;
    value >>= taken;
    length += taken;
  }
  return length + static_cast<int32_t>(value);
}

// Right shift that brings every |value| <= largest into [-127, 127]; 0 when all fit already.
constexpr int32_t gradient_shift(uint32_t largest) { return at_least(bit_length(largest) - 7, 0); }

// The gradient as it is stored: rounded, and 127.5 cut to 127.
constexpr int8_t store_gradient(int32_t value, int32_t shift) {
  return static_cast<int8_t>(clamp(round_shift(value, shift), -127, 127));
}

// A linear congruential generator (Numerical Recipes' constants): two instructions a number. Only its high bits are
// used.
class Random {
 public:
  // Streams of different (seed, stream) pairs are unrelated: the pair goes through MurmurHash3's finaliser.
  Random(uint32_t seed, uint32_t stream) : state_(mix(seed ^ mix(stream + 0x9E3779B9U))) {}

  uint32_t next() {
    state_ = state_ * 1664525U + 1013904223U;
    return state_;
  }

 private:
  static constexpr uint32_t mix(uint32_t h) {
    h = (h ^ (h >> 16)) * 0x85EBCA6BU;
    h = (h ^ (h >> 13)) * 0xC2B2AE35U;
    return h ^ (h >> 16);
  }

  uint32_t state_;
};

}  // namespace ftte::int8
