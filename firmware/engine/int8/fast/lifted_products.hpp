// The inner loop of a convolution's input gradient on Cortex-M: four positions, two input channels.
//
//   sums[i][p] += sum over o < 2 * pairs of g[o][p] * w[o][i], p < 4
//
// The pairs are of outputs (o, o + 1): g comes as paired int16, four positions side by side; the weights stay bytes, as
// the forward pass reads them. With the DSP extension SMLAD makes two products and adds both; of the weights, two
// halfwords (two channels of two outputs) make the two pairs that serve eight SMLADs, so that a pair of outputs takes
// 15 instructions for 16 products; on a Cortex-M3 29, on a Cortex-M0 66. The loop's end takes another four or five, on
// ARMv7-M for up to four pairs. The accumulators, the operands and both pointers fill all registers; so the distance of
// the weights' rows is a template argument, and the rest lies on the stack.
#pragma once

#include "engine/int8/fast/dsp.hpp"

#ifdef FTTE_BLOCKS

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
  return 7 * row + 1 < 4096 && outputs % 8 == 0 ? 4 : 3 * row + 1 < 4096 && outputs % 4 == 0 ? 2 : 1;
}

#ifdef __thumb2__

// A pair of outputs; .Lpair is its number in a turn.
#ifdef FTTE_DSP
#define FTTE_PAIR                                     \
  "ldrh %[w0], [%[w], %[row] * (2 * .Lpair)]\n\t"     \
  "ldrh %[w1], [%[w], %[row] * (2 * .Lpair + 1)]\n\t" \
  "ldrd %[g0], %[g1], [%[g]], #8\n\t"                 \
  "pkhbt %[w1], %[w0], %[w1], lsl #16\n\t"            \
  "sxtb16 %[w0], %[w1]\n\t"                           \
  "sxtb16 %[w1], %[w1], ror #8\n\t"                   \
  "smlad %[a0], %[w0], %[g0], %[a0]\n\t"              \
  "smlad %[a1], %[w1], %[g0], %[a1]\n\t"              \
  "smlad %[a2], %[w0], %[g1], %[a2]\n\t"              \
  "smlad %[a3], %[w1], %[g1], %[a3]\n\t"              \
  "ldrd %[g0], %[g1], [%[g]], #8\n\t"                 \
  "smlad %[a4], %[w0], %[g0], %[a4]\n\t"              \
  "smlad %[a5], %[w1], %[g0], %[a5]\n\t"              \
  "smlad %[a6], %[w0], %[g1], %[a6]\n\t"              \
  "smlad %[a7], %[w1], %[g1], %[a7]\n\t"
#else
#define FTTE_PAIR                                          \
  "ldrsb %[w0], [%[w], %[row] * (2 * .Lpair)]\n\t"         \
  "ldrsb %[w1], [%[w], %[row] * (2 * .Lpair) + 1]\n\t"     \
  "ldrsh %[g0], [%[g], #0]\n\t"                            \
  "mla %[a0], %[w0], %[g0], %[a0]\n\t"                     \
  "mla %[a1], %[w1], %[g0], %[a1]\n\t"                     \
  "ldrsh %[g0], [%[g], #4]\n\t"                            \
  "mla %[a2], %[w0], %[g0], %[a2]\n\t"                     \
  "mla %[a3], %[w1], %[g0], %[a3]\n\t"                     \
  "ldrsh %[g0], [%[g], #8]\n\t"                            \
  "mla %[a4], %[w0], %[g0], %[a4]\n\t"                     \
  "mla %[a5], %[w1], %[g0], %[a5]\n\t"                     \
  "ldrsh %[g0], [%[g], #12]\n\t"                           \
  "mla %[a6], %[w0], %[g0], %[a6]\n\t"                     \
  "mla %[a7], %[w1], %[g0], %[a7]\n\t"                     \
  "ldrsb %[w0], [%[w], %[row] * (2 * .Lpair + 1)]\n\t"     \
  "ldrsb %[w1], [%[w], %[row] * (2 * .Lpair + 1) + 1]\n\t" \
  "ldrsh %[g0], [%[g], #2]\n\t"                            \
  "mla %[a0], %[w0], %[g0], %[a0]\n\t"                     \
  "mla %[a1], %[w1], %[g0], %[a1]\n\t"                     \
  "ldrsh %[g0], [%[g], #6]\n\t"                            \
  "mla %[a2], %[w0], %[g0], %[a2]\n\t"                     \
  "mla %[a3], %[w1], %[g0], %[a3]\n\t"                     \
  "ldrsh %[g0], [%[g], #10]\n\t"                           \
  "mla %[a4], %[w0], %[g0], %[a4]\n\t"                     \
  "mla %[a5], %[w1], %[g0], %[a5]\n\t"                     \
  "ldrsh %[g0], [%[g], #14]\n\t"                           \
  "mla %[a6], %[w0], %[g0], %[a6]\n\t"                     \
  "mla %[a7], %[w1], %[g0], %[a7]\n\t"                     \
  "adds %[g], %[g], #16\n\t"
#endif

template <int32_t kRow, int32_t kPairs>
[[gnu::noinline]] void multiply_lifted(LiftedProducts p) {
  static_assert((2 * kPairs - 1) * kRow + 1 < 4096);
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
      ".rept %c[pairs]\n\t" FTTE_PAIR
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

#undef FTTE_PAIR

#else

// Cortex-M0: two instructions multiply and add, one copies what the multiplication destroys, and only additions and
// moves reach the high registers, where six of the accumulators lie.
#define FTTE_PRODUCTS(offset, half, a, b)   \
  "ldr %[x], [%[g], #" #offset "]\n\t" half \
  "mov %[t], %[x]\n\t"                      \
  "muls %[t], %[w0], %[t]\n\t"              \
  "muls %[x], %[w1], %[x]\n\t"              \
  "add " #a                                 \
  ", %[t]\n\t"                              \
  "add " #b ", %[x]\n\t"
#define FTTE_OUTPUT(half) \
  "ldrb %[w0], [%[w]]\n\t"                         \
  "ldrb %[w1], [%[w], #1]\n\t"                     \
  "sxtb %[w0], %[w0]\n\t"                          \
  "sxtb %[w1], %[w1]\n\t"                          \
  FTTE_PRODUCTS(0, half, r8, r9)                   \
  FTTE_PRODUCTS(4, half, r10, r11)                 \
  FTTE_PRODUCTS(8, half, r12, lr)                  \
  FTTE_PRODUCTS(12, half, r6, r7)                  \
  "ldr %[t], %[row]\n\t"                           \
  "add %[w], %[t]\n\t"

template <int32_t kRow, int32_t kPairs>
[[gnu::noinline]] void multiply_lifted(LiftedProducts p) {
  const int32_t row = kRow;
  register int32_t g asm("r0");
  register int32_t w asm("r1");
  register int32_t w0 asm("r2");
  register int32_t w1 asm("r3");
  register int32_t x asm("r4");
  register int32_t t asm("r5");
  asm volatile(
      ".syntax unified\n\t"
      "1:\n\t"
      "ldr %[g], %[sums]\n\t"
      "ldm %[g]!, {r2-r7}\n\t"
      "mov r8, r2\n\t"
      "mov r9, r3\n\t"
      "mov r10, r4\n\t"
      "mov r11, r5\n\t"
      "mov r12, r6\n\t"
      "mov lr, r7\n\t"
      "ldm %[g]!, {r6-r7}\n\t"
      "ldr %[g], %[g_begin]\n\t"
      "ldr %[w], %[w_begin]\n\t"
      "2:\n\t" FTTE_OUTPUT("sxth %[x], %[x]\n\t") FTTE_OUTPUT("asrs %[x], %[x], #16\n\t")
      "adds %[g], #16\n\t"
      "ldr %[t], %[g_end]\n\t"
      "cmp %[g], %[t]\n\t"
      "bne 2b\n\t"
      "ldr %[g], %[sums]\n\t"
      "mov r2, r8\n\t"
      "mov r3, r9\n\t"
      "mov r4, r10\n\t"
      "mov r5, r11\n\t"
      "stm %[g]!, {r2-r5}\n\t"
      "mov r2, r12\n\t"
      "mov r3, lr\n\t"
      "stm %[g]!, {r2, r3, r6, r7}\n\t"
      "str %[g], %[sums]\n\t"
      "ldr %[w], %[w_begin]\n\t"
      "adds %[w], #2\n\t"
      "str %[w], %[w_begin]\n\t"
      "ldr %[t], %[sums_end]\n\t"
      "cmp %[g], %[t]\n\t"
      "bne 1b"
      : [w0] "=&l"(w0), [w1] "=&l"(w1), [x] "=&l"(x), [t] "=&l"(t), [g] "=&l"(g), [w] "=&l"(w), [sums] "+m"(p.sums),
        [w_begin] "+m"(p.w)
      : [g_begin] "m"(p.g), [g_end] "m"(p.g_end), [sums_end] "m"(p.sums_end), [row] "m"(row)
      : "r6", "r7", "r8", "r9", "r10", "r11", "r12", "lr", "cc", "memory");
}

#undef FTTE_PRODUCTS
#undef FTTE_OUTPUT

#endif

}  // namespace ftte::int8::fast

#endif
