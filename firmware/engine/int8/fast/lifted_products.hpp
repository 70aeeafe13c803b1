// The inner loop of a convolution's input gradient on cores with the DSP extension: four positions, two input channels.
//
//   sums[i][p] += sum over o < 2 * pairs of g[o][p] * w[o][i], p < 4
//
// SMLAD makes two products and both sums, of int16 pairs. The pairs are of outputs (o, o + 1): g comes paired, four
// positions side by side; of the weights, which stay bytes as the forward pass reads them, two halfwords (two channels
// of two outputs) make the two pairs that serve eight multiplications. A pair of outputs takes 15 instructions for 16
// products; the loop's end another four for up to four pairs. The accumulators, the operands and both pointers fill
// all registers; so the distance of the weights' rows is a template argument, and the rest lies on the stack.
#pragma once

#include "engine/int8/fast/dsp.hpp"

#ifdef FTTE_DSP

namespace ftte::int8::fast {

constexpr int32_t kPositions = 4;

// What is multiplied: g int16 [outputs / 2][kPositions][2], to its end; w int8 with rows kRow apart, from the first
// channel on; sums int32 [channels / 2][kPositions][2], to their end.
struct LiftedProducts {
  const int16_t *g, *g_end;
  const int8_t* w;
  int32_t *sums, *sums_end;
};

// Pairs of outputs a turn of the loop: what offsets of 12 bits reach.
constexpr int32_t pairs_a_turn(int32_t row, int32_t outputs) {
  return 7 * row < 4096 && outputs % 8 == 0 ? 4 : 3 * row < 4096 && outputs % 4 == 0 ? 2 : 1;
}

template <int32_t kRow, int32_t kPairs>
[[gnu::noinline]] void multiply_lifted(LiftedProducts p) {
  static_assert((2 * kPairs - 1) * kRow < 4096);
  register int32_t a0 asm("r4");
  register int32_t a1 asm("r5");
  register int32_t a2 asm("r6");
  register int32_t a3 asm("r7");
  register int32_t a4 asm("r8");
  register int32_t a5 asm("r9");
  register int32_t a6 asm("r10");
  register int32_t a7 asm("r11");
  register int32_t w0 asm("r12");
  register int32_t w1 asm("lr");
  register int32_t g0 asm("r0");
  register int32_t g1 asm("r1");
  register int32_t g asm("r2");
  register int32_t w asm("r3");
  asm volatile(
      "1:\n\t"
      "ldr %[g], %[sums]\n\t"
      "ldm %[g], {r4-r11}\n\t"
      "ldr %[g], %[g_begin]\n\t"
      "ldr %[w], %[w_begin]\n\t"
      "2:\n\t"
      ".set .Lpair, 0\n\t"
      ".rept %c[pairs]\n\t"
      "ldrh %[w0], [%[w], %[row] * (2 * .Lpair)]\n\t"
      "ldrh %[w1], [%[w], %[row] * (2 * .Lpair + 1)]\n\t"
      "ldrd %[g0], %[g1], [%[g]], #8\n\t"
      "pkhbt %[w1], %[w0], %[w1], lsl #16\n\t"
      "sxtb16 %[w0], %[w1]\n\t"
      "sxtb16 %[w1], %[w1], ror #8\n\t"
      "smlad %[a0], %[w0], %[g0], %[a0]\n\t"
      "smlad %[a1], %[w1], %[g0], %[a1]\n\t"
      "smlad %[a2], %[w0], %[g1], %[a2]\n\t"
      "smlad %[a3], %[w1], %[g1], %[a3]\n\t"
      "ldrd %[g0], %[g1], [%[g]], #8\n\t"
      "smlad %[a4], %[w0], %[g0], %[a4]\n\t"
      "smlad %[a5], %[w1], %[g0], %[a5]\n\t"
      "smlad %[a6], %[w0], %[g1], %[a6]\n\t"
      "smlad %[a7], %[w1], %[g1], %[a7]\n\t"
      ".set .Lpair, .Lpair + 1\n\t"
      ".endr\n\t"
      ".if 2 * %c[half] < 4096\n\t"
      "addw %[w], %[w], 2 * %c[half]\n\t"
      ".else\n\t"
      "addw %[w], %[w], %c[half]\n\t"
      "addw %[w], %[w], %c[half]\n\t"
      ".endif\n\t"
      "ldr %[g0], %[g_end]\n\t"
      "cmp %[g], %[g0]\n\t"
      "bne 2b\n\t"
      "ldr %[g], %[sums]\n\t"
      "stm %[g]!, {r4-r11}\n\t"
      "str %[g], %[sums]\n\t"
      "ldr %[w], %[w_begin]\n\t"
      "adds %[w], %[w], #2\n\t"
      "str %[w], %[w_begin]\n\t"
      "ldr %[g0], %[sums_end]\n\t"
      "cmp %[g], %[g0]\n\t"
      "bne 1b"
      : [a0] "=&r"(a0), [a1] "=&r"(a1), [a2] "=&r"(a2), [a3] "=&r"(a3), [a4] "=&r"(a4), [a5] "=&r"(a5), [a6] "=&r"(a6),
        [a7] "=&r"(a7), [w0] "=&r"(w0), [w1] "=&r"(w1), [g0] "=&r"(g0), [g1] "=&r"(g1), [g] "=&r"(g), [w] "=&r"(w),
        [sums] "+m"(p.sums), [w_begin] "+m"(p.w)
      : [g_begin] "m"(p.g), [g_end] "m"(p.g_end), [sums_end] "m"(p.sums_end), [row] "i"(kRow), [pairs] "i"(kPairs),
        [half] "i"(kRow * kPairs)
      : "cc", "memory");
}

}  // namespace ftte::int8::fast

#endif
