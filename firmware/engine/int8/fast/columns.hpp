// The inner loop of a convolution on cores with the DSP extension: all output channels at one or two positions.
//
//   y[p][o] = clamp((start[o] + sum over k of w[o][k] * x[p][k]) >> shift[o])
//
// SMLAD makes two products and both sums, of int16 pairs. What lies under the window of a position is widened to int16
// once, into a column, in the order in which SXTB16 widens four weights: bytes 0 and 2, then 1 and 3. Then two channels
// at two positions take 15 instructions for 16 products (a load of 16 columns' bytes, two of weights, four SXTB16,
// eight SMLAD), and a block of four outputs another 22: the accumulators begin with the bias and half a unit (Start),
// are shifted, clipped by USAT or SSAT and stored in pairs. All registers are taken; the rest lies on the stack.
#pragma once

#include "engine/int8/fast/dsp.hpp"
#include "engine/int8/fast/start.hpp"
#include "engine/int8/range.hpp"
#include "engine/shapes.hpp"

#ifdef FTTE_DSP

namespace ftte::int8::fast {

// Words of four k that an inner loop takes: so many before it, and so many in each of its turns.
struct Turns {
  int32_t before, in_turn;
};
constexpr Turns turns_of(int32_t words) {
  constexpr int32_t kMost = 8;
  return words <= kMost ? Turns{words, 0} : Turns{words % kMost, kMost};
}

// What is multiplied. Weights in up to two parts, as Weights has them; the columns hold the parts one behind the other.
struct Columns {
  const uint32_t* x;
  const uint32_t* x_end[2];  // of each part
  const int8_t* w[2];
  const Start *start, *start_end;
  int8_t* y;
  uint32_t above;  // 255 - high in each byte
};

// clang-format off
// Four k of two channels, whose weights are %[row] apart, at two positions.
#define FTTE_STEP_2X2(row)                    \
  "ldm %[x]!, {r8-r11}\n\t"                   \
  "ldr r12, [%[w]], #4\n\t"                   \
  "sxtb16 lr, r12\n\t"                        \
  "sxtb16 r12, r12, ror #8\n\t"               \
  "smlad r4, lr, r8, r4\n\t"                  \
  "smlad r6, lr, r10, r6\n\t"                 \
  "smlad r4, r12, r9, r4\n\t"                 \
  "smlad r6, r12, r11, r6\n\t"                \
  "ldr r12, [%[w], %[" row "] - 4]\n\t"       \
  "sxtb16 lr, r12\n\t"                        \
  "sxtb16 r12, r12, ror #8\n\t"               \
  "smlad r5, lr, r8, r5\n\t"                  \
  "smlad r7, lr, r10, r7\n\t"                 \
  "smlad r5, r12, r9, r5\n\t"                 \
  "smlad r7, r12, r11, r7\n\t"

// At one position.
#define FTTE_STEP_2X1(row)                    \
  "ldm %[x]!, {r8-r9}\n\t"                    \
  "ldr r12, [%[w]], #4\n\t"                   \
  "sxtb16 lr, r12\n\t"                        \
  "sxtb16 r12, r12, ror #8\n\t"               \
  "smlad r4, lr, r8, r4\n\t"                  \
  "smlad r4, r12, r9, r4\n\t"                 \
  "ldr r12, [%[w], %[" row "] - 4]\n\t"       \
  "sxtb16 lr, r12\n\t"                        \
  "sxtb16 r12, r12, ror #8\n\t"               \
  "smlad r5, lr, r8, r5\n\t"                  \
  "smlad r5, r12, r9, r5\n\t"

// All k of one part. At the end the pointer to the weights is put before the rows of the next two channels.
#define FTTE_PART(step, n)                    \
  ".rept %c[before" n "]\n\t"                 \
  step("row" n)                               \
  ".endr\n\t"                                 \
  ".if %c[in_turn" n "]\n\t"                  \
  "2:\n\t"                                    \
  ".rept %c[in_turn" n "]\n\t"                \
  step("row" n)                               \
  ".endr\n\t"                                 \
  "ldr r12, %[x_end" n "]\n\t"                \
  "cmp %[x], r12\n\t"                         \
  "bne 2b\n\t"                                \
  ".endif\n\t"                                \
  "addw %[w], %[w], %[skip" n "]\n\t"

#define FTTE_PARTS(step)                      \
  ".if %c[parts] == 1\n\t"                    \
  FTTE_PART(step, "0")                        \
  ".else\n\t"                                 \
  "ldr %[w], %[w0]\n\t"                       \
  FTTE_PART(step, "0")                        \
  "str %[w], %[w0]\n\t"                       \
  "ldr %[w], %[w1]\n\t"                       \
  FTTE_PART(step, "1")                        \
  "str %[w], %[w1]\n\t"                       \
  ".endif\n\t"

#define FTTE_CLIP(a)                          \
  ".if %c[relu]\n\t"                          \
  "usat " a ", #7, " a "\n\t"                 \
  ".else\n\t"                                 \
  "ssat " a ", #8, " a "\n\t"                 \
  ".endif\n\t"

// Bytes of r4 that are larger than the activation's bound.
#define FTTE_CAP                              \
  "ldr r8, %[above]\n\t"                      \
  "uqadd8 r4, r4, r8\n\t"                     \
  "uqsub8 r4, r4, r8\n\t"

#define FTTE_OPERANDS                                                                                        \
  : [x] "=&r"(x), [w] "+&r"(w), [start] "+&r"(p.start), [y] "+&r"(p.y), [w0] "+m"(p.w[0]), [w1] "+m"(p.w[1]) \
  : [x_begin] "m"(p.x), [x_end0] "m"(p.x_end[0]), [x_end1] "m"(p.x_end[1]), [end] "m"(p.start_end),          \
    [above] "m"(p.above), [parts] "i"(kSecond == 0 ? 1 : 2), [before0] "i"(kTurns.before),                   \
    [in_turn0] "i"(kTurns.in_turn), [row0] "i"(kFirst), [skip0] "i"(2 * kFirst - whole_words(kFirst)),       \
    [before1] "i"(kTurns2.before), [in_turn1] "i"(kTurns2.in_turn), [row1] "i"(kSecond),                     \
    [skip1] "i"(2 * kSecond - whole_words(kSecond)), [n] "i"(kOutputs), [relu] "i"(kRelu), [cap] "i"(kCap)   \
  : "r4", "r5", "r6", "r7", "r8", "r9", "r10", "r11", "r12", "lr", "cc", "memory"
// clang-format on

// kFirst, kSecond: k of the parts, the second 0 where there is one; kOutputs: channels of y, an even number;
// kRelu: clipped to [0, 127], else [-128, 127]; kCap: to 255 - above too.
template <int32_t kFirst, int32_t kSecond, int32_t kOutputs, bool kRelu, bool kCap>
[[gnu::noinline]] void multiply_two_columns(Columns p) {
  constexpr Turns kTurns = turns_of(whole_words(kFirst) / 4);
  constexpr Turns kTurns2 = turns_of(whole_words(kSecond) / 4);
  const uint32_t* x;
  const int8_t* w = p.w[0];
  asm volatile(
      "1:\n\t"
      "ldr %[x], %[x_begin]\n\t"
      "ldrd r4, r5, [%[start]]\n\t"
      "mov r6, r4\n\t"
      "mov r7, r5\n\t" FTTE_PARTS(FTTE_STEP_2X2)
      "ldr r8, [%[start], #8]\n\t"
      "add %[start], %[start], #12\n\t"
      "asr r4, r4, r8\n\t"
      "asr r6, r6, r8\n\t"
      "lsr r8, r8, #8\n\t"
      "asr r5, r5, r8\n\t"
      "asr r7, r7, r8\n\t" FTTE_CLIP("r4") FTTE_CLIP("r5") FTTE_CLIP("r6") FTTE_CLIP("r7")
      "bfi r4, r5, #8, #8\n\t"
      "bfi r6, r7, #8, #8\n\t"
      ".if %c[cap]\n\t"
      "pkhbt r4, r4, r6, lsl #16\n\t" FTTE_CAP
      "lsr r6, r4, #16\n\t"
      ".endif\n\t"
      "strh r6, [%[y], %[n]]\n\t"
      "strh r4, [%[y]], #2\n\t"
      "ldr r8, %[end]\n\t"
      "cmp %[start], r8\n\t"
      "bne 1b" FTTE_OPERANDS);
}

// The same at one position.
template <int32_t kFirst, int32_t kSecond, int32_t kOutputs, bool kRelu, bool kCap>
[[gnu::noinline]] void multiply_column(Columns p) {
  constexpr Turns kTurns = turns_of(whole_words(kFirst) / 4);
  constexpr Turns kTurns2 = turns_of(whole_words(kSecond) / 4);
  const uint32_t* x;
  const int8_t* w = p.w[0];
  asm volatile(
      "1:\n\t"
      "ldr %[x], %[x_begin]\n\t"
      "ldrd r4, r5, [%[start]]\n\t" FTTE_PARTS(FTTE_STEP_2X1)
      "ldr r8, [%[start], #8]\n\t"
      "add %[start], %[start], #12\n\t"
      "asr r4, r4, r8\n\t"
      "lsr r8, r8, #8\n\t"
      "asr r5, r5, r8\n\t" FTTE_CLIP("r4") FTTE_CLIP("r5")
      "bfi r4, r5, #8, #8\n\t"
      ".if %c[cap]\n\t" FTTE_CAP
      ".endif\n\t"
      "strh r4, [%[y]], #2\n\t"
      "ldr r8, %[end]\n\t"
      "cmp %[start], r8\n\t"
      "bne 1b" FTTE_OPERANDS);
}

#undef FTTE_STEP_2X2
#undef FTTE_STEP_2X1
#undef FTTE_PART
#undef FTTE_PARTS
#undef FTTE_CLIP
#undef FTTE_CAP
#undef FTTE_OPERANDS

}  // namespace ftte::int8::fast

#endif
