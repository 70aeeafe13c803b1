#include "engine/int8/fast/depthwise2d.hpp"

#ifdef FTTE_DSP

namespace ftte::int8::fast {

// clang-format off
// One tap's four products, from %[list] on.
#define FTTE_TAP                        \
  "ldrd %[x], %[w], [%[list]], #8\n\t"  \
  "ldr %[x], [%[corner], %[x]]\n\t"     \
  "ldr %[w], [%[w], %[channel]]\n\t"    \
  "sxtb16 %[v], %[x]\n\t"               \
  "sxtb16 %[z], %[w]\n\t"               \
  "smlabb r4, %[v], %[z], r4\n\t"       \
  "smlatt r6, %[v], %[z], r6\n\t"       \
  "sxtb16 %[x], %[x], ror #8\n\t"       \
  "sxtb16 %[w], %[w], ror #8\n\t"       \
  "smlabb r5, %[x], %[w], r5\n\t"       \
  "smlatt r7, %[x], %[w], r7\n\t"

#define FTTE_CLIP(a)                    \
  ".if %c[relu]\n\t"                    \
  "usat " a ", #7, " a "\n\t"           \
  ".else\n\t"                           \
  "ssat " a ", #8, " a "\n\t"           \
  ".endif\n\t"
// clang-format on

template <bool kRelu, bool kCap>
[[gnu::noinline]] void multiply_taps(InTaps p) {
  int32_t channel = 0;
  const InTap* list;
  uint32_t x, w, v, z;
  // Taps in twos; an odd number begins in the middle.
  asm volatile(
      "1:\n\t"
      "ldr %[list], %[taps]\n\t"
      "ldr %[x], %[end]\n\t"
      "ldm %[start]!, {r4-r7}\n\t"
      "sub %[x], %[x], %[list]\n\t"
      "tst %[x], #8\n\t"
      "bne 3f\n\t"
      "2:\n\t" FTTE_TAP "3:\n\t" FTTE_TAP
      "ldr %[x], %[end]\n\t"
      "cmp %[list], %[x]\n\t"
      "bne 2b\n\t"
      "ldr %[x], [%[start]], #4\n\t"
      "asr r4, r4, %[x]\n\t"
      "lsr %[x], %[x], #8\n\t"
      "asr r5, r5, %[x]\n\t"
      "lsr %[x], %[x], #8\n\t"
      "asr r6, r6, %[x]\n\t"
      "lsr %[x], %[x], #8\n\t"
      "asr r7, r7, %[x]\n\t" FTTE_CLIP("r4") FTTE_CLIP("r5") FTTE_CLIP("r6") FTTE_CLIP("r7")
      "bfi r4, r5, #8, #8\n\t"
      "bfi r6, r7, #8, #8\n\t"
      "pkhbt r4, r4, r6, lsl #16\n\t"
      ".if %c[cap]\n\t"
      "ldr %[x], %[above]\n\t"
      "uqadd8 r4, r4, %[x]\n\t"
      "uqsub8 r4, r4, %[x]\n\t"
      ".endif\n\t"
      "str r4, [%[y], %[channel]]\n\t"
      "add %[channel], %[channel], #4\n\t"
      "add %[corner], %[corner], #4\n\t"
      "ldr %[x], %[start_end]\n\t"
      "cmp %[start], %[x]\n\t"
      "bne 1b"
      : [list] "=&r"(list), [x] "=&r"(x), [w] "=&r"(w), [v] "=&r"(v), [z] "=&r"(z), [channel] "+&r"(channel),
        [start] "+&r"(p.start), [corner] "+&r"(p.x)
      : [y] "r"(p.y), [taps] "m"(p.taps), [end] "m"(p.end), [start_end] "m"(p.start_end), [above] "m"(p.above),
        [relu] "i"(kRelu), [cap] "i"(kCap)
      : "r4", "r5", "r6", "r7", "cc", "memory");
}

#undef FTTE_TAP
#undef FTTE_CLIP

template void multiply_taps<false, false>(InTaps);
template void multiply_taps<true, false>(InTaps);
template void multiply_taps<true, true>(InTaps);

}  // namespace ftte::int8::fast

#endif
