#include "engine/int8/fast/compensated_steps.hpp"

#ifdef FTTE_DSP

namespace ftte::int8::fast {
namespace {

constexpr Jump kOne = jump_over(1);
constexpr uint32_t kComplementTerm = kOne.factor - kOne.term - 1;

// The 16-bit number in `half` ("" or ", ror #16") of a register takes the step of the t that `load` fetches.
#define FTTE_STEP(load, number, half, from)       \
  load "lsr %[d], %[random], %[drop]\n\t"         \
       "mla %[random], %[random], %[a], %[c]\n\t" \
       "mla %[t], %[t], %[factor], %[d]\n\t"      \
       "asr %[t], %[t], %[shift]\n\t"             \
       "uxtah %[t], %[t], %[" #number "]" half    \
       "\n\t"                                     \
       "cmp %[t], #0x10000\n\t"                   \
       "adc %[clipped], %[clipped], #0\n\t"       \
       "usat %[t], #16, %[t]\n\t"                 \
       "bfi %[" #number "], %[t], #" #from ", #16\n\t"

// kStride: bytes from one t to the next; 1: int8, otherwise int32.
template <int32_t kStride>
[[gnu::always_inline]] inline void run(int8_t* values, int8_t* residuals, const void* factors, int32_t n,
                                       Steps& steps) {
  const int8_t* const last = values + n;
  register uint32_t t asm("r0");
  register uint32_t d asm("r1");
  register uint32_t even asm("r2");
  register uint32_t odd asm("r3");
  register uint32_t a asm("r4") = kOne.factor;
  register uint32_t c asm("r5") = kComplementTerm;
  register int32_t factor asm("r6") = -steps.factor;
  register int32_t shift asm("r7") = steps.shift;
  register int32_t drop asm("r8") = 32 - steps.shift;
  register uint32_t random asm("r9") = ~steps.number;
  register uint32_t clipped asm("r10") = steps.clipped;
  register int8_t* q asm("r11") = values;
  register int8_t* r asm("r12") = residuals;
  register const void* from asm("lr") = factors;
#define FTTE_LOAD \
  ".if %c[stride] == 1\n\tldrsb %[t], [%[from]], #1\n\t.else\n\tldr %[t], [%[from]], %[stride]\n\t.endif\n\t"
  asm volatile(
      "1:\n\t"
      "ldr %[t], [%[q]]\n\t"
      "ldr %[d], [%[r]]\n\t"
      "eor %[t], %[t], #0x80808080\n\t"
      "eor %[d], %[d], #0x80808080\n\t"
      "uxtb16 %[odd], %[t], ror #8\n\t"
      "uxtb16 %[t], %[t]\n\t"
      "uxtb16 %[even], %[d]\n\t"
      "orr %[even], %[even], %[t], lsl #8\n\t"
      "uxtb16 %[d], %[d], ror #8\n\t"
      "orr %[odd], %[d], %[odd], lsl #8\n\t" FTTE_STEP(FTTE_LOAD, even, "", 0) FTTE_STEP(FTTE_LOAD, odd, "", 0)
          FTTE_STEP(FTTE_LOAD, even, ", ror #16", 16) FTTE_STEP(FTTE_LOAD, odd, ", ror #16", 16)
      "uxtb16 %[t], %[even]\n\t"
      "uxtb16 %[d], %[odd]\n\t"
      "orr %[t], %[t], %[d], lsl #8\n\t"
      "eor %[t], %[t], #0x80808080\n\t"
      "str %[t], [%[r]], #4\n\t"
      "uxtb16 %[t], %[even], ror #8\n\t"
      "and %[odd], %[odd], #0xFF00FF00\n\t"
      "orr %[t], %[t], %[odd]\n\t"
      "eor %[t], %[t], #0x80808080\n\t"
      "str %[t], [%[q]], #4\n\t"
      "ldr %[t], %[last]\n\t"
      "cmp %[q], %[t]\n\t"
      "bne 1b"
      : [t] "=&r"(t), [d] "=&r"(d), [even] "=&r"(even), [odd] "=&r"(odd), [random] "+r"(random), [clipped] "+r"(clipped),
        [q] "+r"(q), [r] "+r"(r), [from] "+r"(from)
      : [a] "r"(a), [c] "r"(c), [factor] "r"(factor), [shift] "r"(shift), [drop] "r"(drop), [last] "m"(last),
        [stride] "i"(kStride)
      : "cc", "memory");
#undef FTTE_LOAD
  steps.clipped = clipped;
  steps.number = ~random;
}

#undef FTTE_STEP

}  // namespace

[[gnu::noinline]] void step_compensated(int8_t* q, int8_t* r, const int8_t* t, int32_t n, Steps& steps) {
  run<1>(q, r, t, n, steps);
}

[[gnu::noinline]] void step_compensated(int8_t* q, int8_t* r, const int32_t* t, Steps& steps) {
  run<2 * sizeof(int32_t)>(q, r, t, 4, steps);
}

}  // namespace ftte::int8::fast

#endif
