// The input gradient of a fully connected layer on cores with the DSP extension; conv2d_input_gradient.hpp is its
// contract. As lifted_products.hpp, but there is one position: of each pair of outputs, two words of four weights each
// make the eight pairs that eight SMLADs need, so that 16 products take 25 instructions.
#pragma once

#include "engine/int8/fast/gradient_store.hpp"
#include "engine/shapes.hpp"

namespace ftte::int8::fast {

#ifdef FTTE_DSP

// What is multiplied: g int16 [outputs], lifted, to its end; w int8 with rows kRow apart, from the first input on; sums
// int32, of a multiple of eight inputs, to their end.
struct DenseProducts {
  const int16_t *g, *g_end;
  const int8_t* w;
  int32_t *sums, *sums_end;
};

// Four weights of two outputs, `offset` into a row, into four accumulators.
#define FTTE_FOUR(offset, a, b, c, d)     \
  "ldr %[x], [%[w], #" #offset            \
  "]\n\t"                                 \
  "ldr %[y], [%[w], %[row] + " #offset    \
  "]\n\t"                                 \
  "pkhbt %[t], %[x], %[y], lsl #16\n\t"   \
  "pkhtb %[y], %[y], %[x], asr #16\n\t"   \
  "sxtb16 %[x], %[t]\n\t"                 \
  "sxtb16 %[t], %[t], ror #8\n\t"         \
  "smlad %[" #a "], %[x], %[pair], %[" #a \
  "]\n\t"                                 \
  "smlad %[" #b "], %[t], %[pair], %[" #b \
  "]\n\t"                                 \
  "sxtb16 %[x], %[y]\n\t"                 \
  "sxtb16 %[y], %[y], ror #8\n\t"         \
  "smlad %[" #c "], %[x], %[pair], %[" #c \
  "]\n\t"                                 \
  "smlad %[" #d "], %[y], %[pair], %[" #d "]\n\t"

template <int32_t kRow>
[[gnu::noinline]] void multiply_dense(DenseProducts p) {
  static_assert(2 * kRow < 8192 && kRow + 4 < 4096);
  register int32_t a0 asm("r4");
  register int32_t a1 asm("r5");
  register int32_t a2 asm("r6");
  register int32_t a3 asm("r7");
  register int32_t a4 asm("r8");
  register int32_t a5 asm("r9");
  register int32_t a6 asm("r10");
  register int32_t a7 asm("r11");
  register int32_t x asm("r12");
  register int32_t y asm("lr");
  register int32_t t asm("r0");
  register int32_t pair asm("r1");
  register int32_t g asm("r2");
  register int32_t w asm("r3");
  asm volatile(
      "1:\n\t"
      "mov %[a0], #0\n\t"
      "mov %[a1], #0\n\t"
      "mov %[a2], #0\n\t"
      "mov %[a3], #0\n\t"
      "mov %[a4], #0\n\t"
      "mov %[a5], #0\n\t"
      "mov %[a6], #0\n\t"
      "mov %[a7], #0\n\t"
      "ldr %[g], %[g_begin]\n\t"
      "ldr %[w], %[w_begin]\n\t"
      "2:\n\t"
      "ldr %[pair], [%[g]], #4\n\t" FTTE_FOUR(0, a0, a1, a2, a3) FTTE_FOUR(4, a4, a5, a6, a7)
      "addw %[w], %[w], %[row]\n\t"
      "addw %[w], %[w], %[row]\n\t"
      "ldr %[t], %[g_end]\n\t"
      "cmp %[g], %[t]\n\t"
      "bne 2b\n\t"
      "ldr %[g], %[sums]\n\t"
      "stm %[g]!, {r4-r11}\n\t"
      "str %[g], %[sums]\n\t"
      "ldr %[w], %[w_begin]\n\t"
      "adds %[w], %[w], #8\n\t"
      "str %[w], %[w_begin]\n\t"
      "ldr %[t], %[sums_end]\n\t"
      "cmp %[g], %[t]\n\t"
      "bne 1b"
      : [a0] "=&r"(a0), [a1] "=&r"(a1), [a2] "=&r"(a2), [a3] "=&r"(a3), [a4] "=&r"(a4), [a5] "=&r"(a5), [a6] "=&r"(a6),
        [a7] "=&r"(a7), [x] "=&r"(x), [y] "=&r"(y), [t] "=&r"(t), [pair] "=&r"(pair), [g] "=&r"(g), [w] "=&r"(w),
        [sums] "+m"(p.sums), [w_begin] "+m"(p.w)
      : [g_begin] "m"(p.g), [g_end] "m"(p.g_end), [sums_end] "m"(p.sums_end), [row] "i"(kRow)
      : "cc", "memory");
}

#undef FTTE_FOUR

// A kernel that covers its whole input, all frozen or all trained; an even number of outputs, inputs in eights.
constexpr bool is_fast_dense(const Conv2dShape& s, int32_t trained_in) {
  const int32_t inputs = s.in_size();
  return s.groups == 1 && s.positions() == 1 && s.pad_top == 0 && s.pad_left == 0 && s.kernel_h == s.in_h &&
         s.kernel_w == s.in_w && (trained_in == 0 || trained_in == s.in_c) && s.out_c % 2 == 0 && inputs % 8 == 0 &&
         inputs < 4092;
}

// Bytes of scratch for the lifted gradients and 32 sums.
constexpr int32_t dense_scratch(const Conv2dShape& s) { return 2 * s.out_c + 4 * Store::kMost; }

struct Dense {
  int32_t inputs, outputs;
  void (*multiply)(DenseProducts);
  const int8_t* lift;
};

// Returns by how much the sums were shifted.
int32_t dense_input_gradient(Sgd& sgd, const Dense& layer, const int8_t* gy, const int8_t* w, const uint8_t* gate,
                             uint32_t* peak, void* scratch, int8_t* gx);

#endif

}  // namespace ftte::int8::fast
