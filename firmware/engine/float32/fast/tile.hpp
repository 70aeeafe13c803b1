// Blocks of sums in the FPU's registers: what the convolutions of this folder consist of.
//
// 32 single registers hold 16 sums, of four positions and four channels, and the operands of two products each. VMLA
// rounds its product before it adds: it gives the bits of a multiplication and an addition, as the general kernels have
// them. (It is one instruction where these are two; on a Cortex-M4 it takes three cycles where these take two, so what
// counts there is what else a product costs: docs/architecture.md.)
#pragma once

#include <cstdint>

#if defined(__ARM_FP) && defined(__thumb2__)
#define FTTE_FPU_TILES
#endif

namespace ftte::float32::fast {

#ifdef FTTE_FPU_TILES

constexpr int32_t kTile = 4;

// A VMLA for each of four positions with one channel, whose sums are s<a> .. s<d>.
#define FTTE_COLUMN(a, b, c, d, x0, x1, x2, x3, w)                          \
  "vmla.f32 s" #a ", s" #x0 ", s" #w "\n\tvmla.f32 s" #b ", s" #x1 ", s" #w \
  "\n\t"                                                                    \
  "vmla.f32 s" #c ", s" #x2 ", s" #w "\n\tvmla.f32 s" #d ", s" #x3 ", s" #w "\n\t"
#define FTTE_COLUMNS(x0, x1, x2, x3, w0, w1, w2, w3) \
  FTTE_COLUMN(0, 4, 8, 12, x0, x1, x2, x3, w0)       \
  FTTE_COLUMN(1, 5, 9, 13, x0, x1, x2, x3, w1)       \
  FTTE_COLUMN(2, 6, 10, 14, x0, x1, x2, x3, w2)      \
  FTTE_COLUMN(3, 7, 11, 15, x0, x1, x2, x3, w3)
#define FTTE_PAIR                                                                                   \
  "vldmia r0!, {s16-s23}\n\tvldmia r1!, {s24-s25}\n\tvldmia r2!, {s26-s27}\n\t"                     \
  "vldmia r3!, {s28-s29}\n\tvldmia r4!, {s30-s31}\n\t" FTTE_COLUMNS(16, 18, 20, 22, 24, 26, 28, 30) \
      FTTE_COLUMNS(17, 19, 21, 23, 25, 27, 29, 31)

// Rows of four sums, of which each next begins r8 (r10) bytes behind the last; r6 (r9) moves on to the next channels.
#define FTTE_LOAD_SUMS                                               \
  "vldmia r6!, {s0-s3}\n\tadd r0, r6, r8\n\tvldmia r0!, {s4-s7}\n\t" \
  "add r0, r0, r8\n\tvldmia r0!, {s8-s11}\n\tadd r0, r0, r8\n\tvldmia r0, {s12-s15}\n\t"
#define FTTE_STORE_SUMS                                               \
  "vstmia r9!, {s0-s3}\n\tadd r0, r9, r10\n\tvstmia r0!, {s4-s7}\n\t" \
  "add r0, r0, r10\n\tvstmia r0!, {s8-s11}\n\tadd r0, r0, r10\n\tvstmia r0, {s12-s15}\n\t"

#define FTTE_SUMS "s0", "s1", "s2", "s3", "s4", "s5", "s6", "s7", "s8", "s9", "s10", "s11", "s12", "s13", "s14", "s15"
#define FTTE_OPERANDS \
  "s16", "s17", "s18", "s19", "s20", "s21", "s22", "s23", "s24", "s25", "s26", "s27", "s28", "s29", "s30", "s31"

// Sums of four positions with `blocks` times four neighbouring channels, in order of k:
// to[p][o] = from[p][o] + sum over k < n of x[p][k] * w[o][k].
struct Tiles {
  const float* x;                  // packed
  const float *w0, *w1, *w2, *w3;  // the rows of the first four channels
  int32_t n;
  const float* from;  // a position's sums; the next position's four begin from_step bytes behind the last one's
  int32_t from_step;
  float* to;
  int32_t to_step;
  int32_t skip;  // bytes from behind a row's n values to the next row's
  int32_t row;   // bytes from row to row
  int32_t blocks;
};

// The registers are named, as more are needed than GCC finds for operands: r0 x, r1 to r4 rows, r5 n, r6 and r8 from,
// r9 and r10 to, r11 skip, r12 row, lr blocks.
#define FTTE_TILES(tiles, loop)                                                                                     \
  register const Tiles* given asm("r7") = &(tiles);                                                                 \
  asm volatile(                                                                                                     \
      "ldmia r7, {r0-r6, r8-r12, lr}\n"                                                                             \
      "0:\n\t" FTTE_LOAD_SUMS                                                                                       \
      "ldr r0, [r7]\n"                                                                                              \
      "1:\n\t" loop "bne 1b\n\t" FTTE_STORE_SUMS                                                                    \
      "ldr r5, [r7, #20]\n\tadd r1, r4, r11\n\tadd r2, r1, r12\n\tadd r3, r2, r12\n\t"                              \
      "add r4, r3, r12\n\tsubs lr, lr, #1\n\tbne 0b"                                                                \
      : "+r"(given)                                                                                                 \
      :                                                                                                             \
      : "r0", "r1", "r2", "r3", "r4", "r5", "r6", "r8", "r9", "r10", "r11", "r12", "lr", "cc", "memory", FTTE_SUMS, \
        FTTE_OPERANDS)

// n: a multiple of 8; x in pairs, [k / 2][position][2].
[[gnu::noinline]] inline void multiply_eights(const Tiles& tiles) {
  FTTE_TILES(tiles, FTTE_PAIR FTTE_PAIR FTTE_PAIR FTTE_PAIR "subs r5, r5, #8\n\t");
}

// Any n > 0; x [k][position].
[[gnu::noinline]] inline void multiply_ones(const Tiles& tiles) {
  FTTE_TILES(tiles,
             "vldmia r0!, {s16-s19}\n\tvldmia r1!, {s24}\n\tvldmia r2!, {s25}\n\tvldmia r3!, {s26}\n\t"
             "vldmia r4!, {s27}\n\t" FTTE_COLUMNS(16, 17, 18, 19, 24, 25, 26, 27) "subs r5, r5, #1\n\t");
}

// to[o] = from[o] + sum over k < n of x[k] * w[o][k] for four channels, whose rows are `row` floats apart; n: a
// multiple of 8 above 0.
[[gnu::always_inline]] inline void multiply_one_position(const float* x, const float* w, int32_t row, int32_t n,
                                                         const float* from, float* to) {
#define FTTE_FOUR_OF_ROW(sum, x0, x1, x2, x3, w0, w1, w2, w3)                                                     \
  "vmla.f32 s" #sum ", s" #x0 ", s" #w0 "\n\tvmla.f32 s" #sum ", s" #x1 ", s" #w1 "\n\tvmla.f32 s" #sum ", s" #x2 \
  ", s" #w2 "\n\tvmla.f32 s" #sum ", s" #x3 ", s" #w3 "\n\t"
#define FTTE_FOUR                                                                                               \
  "vldmia %[x]!, {s16-s19}\n\tvldmia %[w0]!, {s20-s23}\n\tvldmia %[w1]!, {s24-s27}\n\t"                         \
  "vldmia %[w2]!, {s28-s31}\n\tvldmia %[w3]!, {s8-s11}\n\t" FTTE_FOUR_OF_ROW(0, 16, 17, 18, 19, 20, 21, 22, 23) \
      FTTE_FOUR_OF_ROW(1, 16, 17, 18, 19, 24, 25, 26, 27) FTTE_FOUR_OF_ROW(2, 16, 17, 18, 19, 28, 29, 30, 31)   \
          FTTE_FOUR_OF_ROW(3, 16, 17, 18, 19, 8, 9, 10, 11)
  const float *w0 = w, *w1 = w + row, *w2 = w + 2 * row, *w3 = w + 3 * row;
  asm volatile("vldmia %[from], {s0-s3}\n1:\n\t" FTTE_FOUR FTTE_FOUR
               "subs %[n], %[n], #8\n\tbne 1b\n\tvstmia %[to], {s0-s3}"
               : [x] "+r"(x), [w0] "+r"(w0), [w1] "+r"(w1), [w2] "+r"(w2), [w3] "+r"(w3), [n] "+r"(n)
               : [from] "r"(from), [to] "r"(to)
               : "cc", "memory", FTTE_SUMS, FTTE_OPERANDS);
}

// n values of one position, a multiple of 8 above 0, into pairs of four positions.
[[gnu::always_inline]] inline void copy_eights(const float* from, int32_t n, float* to) {
  asm volatile(
      "1:\n\tldmia %[from]!, {r2-r5}\n\t"
      "strd r2, r3, [%[to]]\n\tstrd r4, r5, [%[to], #32]\n\t"
      "ldmia %[from]!, {r2-r5}\n\t"
      "strd r2, r3, [%[to], #64]\n\tstrd r4, r5, [%[to], #96]\n\t"
      "add %[to], %[to], #128\n\tsubs %[n], %[n], #8\n\tbne 1b"
      : [from] "+r"(from), [to] "+r"(to), [n] "+r"(n)
      :
      : "cc", "memory", "r2", "r3", "r4", "r5");
}

// Negative values become 0. As integers, floats are negative where they are. n: a multiple of 8.
[[gnu::always_inline]] inline void rectify(float* y, int32_t n) {
  const float* const end = y + n;
  while (y != end) {
    asm volatile(
        "ldmia %[y], {r2-r6, r8-r10}\n\t"
        "bic r2, r2, r2, asr #31\n\tbic r3, r3, r3, asr #31\n\t"
        "bic r4, r4, r4, asr #31\n\tbic r5, r5, r5, asr #31\n\t"
        "bic r6, r6, r6, asr #31\n\tbic r8, r8, r8, asr #31\n\t"
        "bic r9, r9, r9, asr #31\n\tbic r10, r10, r10, asr #31\n\t"
        "stmia %[y]!, {r2-r6, r8-r10}"
        : [y] "+r"(y)
        :
        : "memory", "r2", "r3", "r4", "r5", "r6", "r8", "r9", "r10");
  }
}

#endif

}  // namespace ftte::float32::fast
