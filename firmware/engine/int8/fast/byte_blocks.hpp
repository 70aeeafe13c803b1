// The inner loops of a convolution on a Cortex-M3: all output channels at four positions, or at one.
//
//   y[p][o] = clamp((start[o] + sum over k of w[o][k] * x[p][k]) >> shift[o])
//
// A byte is loaded and widened in one instruction, so nothing is prepared. Two channels at four positions are eight
// MLA and six loads; eight channels (four, two) at one position eight MLA and nine loads. That many accumulators, the
// operands and two pointers fill the registers; rows of x and of w lie at offsets that the instructions hold.
#pragma once

#include "engine/blocks.hpp"
#include "engine/int8/fast/dsp.hpp"
#include "engine/int8/fast/start.hpp"
#include "engine/int8/range.hpp"

#if defined(__thumb2__) && !defined(FTTE_DSP)

namespace ftte::int8::fast {

// What is multiplied. Weights in up to two parts, as Weights has them.
struct ByteRows {
  const int8_t* x;
  const int8_t* w[2];
  const Start *start, *start_end;
  int8_t* y;
};

// sum[c][p] += sum over k < kLength of w[c * kLength + k] * x[p * kStep + k].
template <int32_t kLength, int32_t kStep, int32_t kChannels, int32_t kPositions>
[[gnu::always_inline]] inline void add_products(const int8_t* x, const int8_t* w,
                                                int32_t (&sum)[kChannels][kPositions]) {
  constexpr int32_t kTurn = 4;
  const auto add = [&](int32_t k) {
    int32_t weights[kChannels];
    unrolled<kChannels>([&](int32_t c) { weights[c] = w[c * kLength + k]; });
    unrolled<kPositions>([&](int32_t p) {
      const int32_t operand = x[p * kStep + k];
      unrolled<kChannels>([&](int32_t c) { sum[c][p] += weights[c] * operand; });
    });
  };
  if constexpr (kLength >= kTurn) {
    for (const int8_t* const end = x + kLength / kTurn * kTurn; x != end; x += kTurn, w += kTurn) {
      unrolled<kTurn>(add);
    }
  }
  unrolled<kLength % kTurn>(add);
}

// kLow, kHigh: the range; {-128, 127} or {0, 127} in one instruction.
template <int32_t kLow, int32_t kHigh>
[[gnu::always_inline]] inline int8_t clip(int32_t value) {
  if constexpr (kLow == 0) {
    asm("usat %0, #7, %0" : "+r"(value));
  } else {
    asm("ssat %0, #8, %0" : "+r"(value));
  }
  if constexpr (kHigh < 127) value = value < kHigh ? value : kHigh;
  return static_cast<int8_t>(value);
}

// kFirst, kSecond: k of the parts, the second 0 where there is one; kStep: from a row of x to the next.
template <int32_t kFirst, int32_t kSecond, int32_t kStep, int32_t kOutputs, int32_t kChannels, int32_t kPositions,
          int32_t kLow, int32_t kHigh>
[[gnu::noinline]] void multiply_rows(ByteRows p) {
  for (; p.start != p.start_end; p.start += kChannels / 2, p.y += kChannels) {
    int32_t sum[kChannels][kPositions];
    unrolled<kChannels>(
        [&](int32_t c) { unrolled<kPositions>([&](int32_t q) { sum[c][q] = p.start[c / 2].sum[c % 2]; }); });
    add_products<kFirst, kStep, kChannels, kPositions>(p.x, p.w[0], sum);
    p.w[0] += kChannels * kFirst;
    if constexpr (kSecond != 0) {
      add_products<kSecond, kStep, kChannels, kPositions>(p.x + kFirst, p.w[1], sum);
      p.w[1] += kChannels * kSecond;
    }
    unrolled<kChannels>([&](int32_t c) {
      const uint32_t shift = p.start[c / 2].shifts >> (c % 2 * 8) & 0xFFU;
      unrolled<kPositions>([&](int32_t q) { p.y[q * kOutputs + c] = clip<kLow, kHigh>(sum[c][q] >> shift); });
    });
  }
}

}  // namespace ftte::int8::fast

#endif
