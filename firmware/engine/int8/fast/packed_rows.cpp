#include "engine/int8/fast/packed_rows.hpp"

#if defined(__thumb__) && !defined(__thumb2__)

#include "engine/int8/fixed.hpp"

namespace ftte::int8::fast {
namespace {

[[gnu::always_inline]] inline int8_t store(int32_t sum, uint32_t shift, Range range) {
  return static_cast<int8_t>(clamp(sum >> shift, range.low, range.high));
}

// Two k of two channels at two positions. The last instruction that sets flags counts.
#define FTTE_STEP              \
  "ldm %[x]!, {r4, r5}\n\t"    \
  "ldrsb r6, [%[w], %[i]]\n\t" \
  "ldrsb r7, [%[v], %[i]]\n\t" \
  "adds %[i], #1\n\t"          \
  "muls r6, r4, r6\n\t"        \
  "muls r7, r4, r7\n\t"        \
  "ldrsb r4, [%[w], %[i]]\n\t" \
  "muls r4, r5, r4\n\t"        \
  "adds r6, r6, r4\n\t"        \
  "ldrsb r4, [%[v], %[i]]\n\t" \
  "muls r4, r5, r4\n\t"        \
  "adds r7, r7, r4\n\t"        \
  "sxth r4, r6\n\t"            \
  "sxth r5, r7\n\t"            \
  "subs r6, r6, r4\n\t"        \
  "subs r7, r7, r5\n\t"        \
  "add r8, r4\n\t"             \
  "add r10, r5\n\t"            \
  "asrs r6, r6, #16\n\t"       \
  "asrs r7, r7, #16\n\t"       \
  "add r9, r6\n\t"             \
  "add r11, r7\n\t"            \
  "adds %[i], #1\n\t"

// sum[c][p] -= what the rows w and w + k give; x: packed. Returns the end of x.
[[gnu::always_inline]] inline const uint32_t* subtract_products(const uint32_t* packed, const int8_t* row, int32_t k,
                                                                int32_t (&sum)[2][2]) {
  const int32_t even = (k + 1) & ~1;
  register const uint32_t* x asm("r0") = packed;
  register const int8_t* w asm("r1") = row + even;
  register const int8_t* v asm("r2") = row + even + k;
  register int32_t i asm("r3") = -even;
  register int32_t a asm("r4");
  register int32_t b asm("r5");
  register int32_t c asm("r6");
  register int32_t d asm("r7");
  // Steps in twos; an odd number begins in the middle.
  asm volatile(
      ".syntax unified\n\t"
      "movs r4, #0\n\t"
      "mov r8, r4\n\t"
      "mov r9, r4\n\t"
      "mov r10, r4\n\t"
      "mov r11, r4\n\t"
      "lsls r4, %[i], #30\n\t"
      "bmi 2f\n\t"
      "1:\n\t" FTTE_STEP "2:\n\t" FTTE_STEP
      "bne 1b\n\t"
      "mov r4, r8\n\t"
      "mov r5, r9\n\t"
      "mov r6, r10\n\t"
      "mov r7, r11"
      : [x] "+l"(x), [w] "+l"(w), [v] "+l"(v), [i] "+l"(i), "=&l"(a), "=&l"(b), "=&l"(c), "=&l"(d)
      :
      : "r8", "r9", "r10", "r11", "cc", "memory");
  sum[0][0] -= a;
  sum[0][1] -= b;
  sum[1][0] -= c;
  sum[1][1] -= d;
  return x;
}

#undef FTTE_STEP

// A product of a channel.
#define FTTE_PRODUCT(row, sum) \
  "ldrsb r7, [%[" row          \
  "], %[i]]\n\t"               \
  "muls r7, r6, r7\n\t"        \
  "add " sum ", r7\n\t"
#define FTTE_STEP                                                                                          \
  "ldrsb r6, [%[x], %[i]]\n\t" FTTE_PRODUCT("w0", "r8") FTTE_PRODUCT("w1", "r9") FTTE_PRODUCT("w2", "r10") \
      FTTE_PRODUCT("w3", "r11") "adds %[i], #1\n\t"

// sum[c] += what the rows w + c * k give; k > 0.
[[gnu::always_inline]] inline void add_products(const int8_t* row, const int8_t* weights, int32_t k,
                                                int32_t (&sum)[4]) {
  register const int8_t* x asm("r0") = row + k;
  register const int8_t* w0 asm("r1") = weights + k;
  register const int8_t* w1 asm("r2") = w0 + k;
  register const int8_t* w2 asm("r3") = w1 + k;
  register const int8_t* w3 asm("r4") = w2 + k;
  register int32_t i asm("r5") = -k;
  asm volatile(
      ".syntax unified\n\t"
      "movs r6, #0\n\t"
      "mov r8, r6\n\t"
      "mov r9, r6\n\t"
      "mov r10, r6\n\t"
      "mov r11, r6\n\t"
      "lsls r6, %[i], #31\n\t"
      "bmi 2f\n\t"
      "1:\n\t" FTTE_STEP "2:\n\t" FTTE_STEP
      "bne 1b\n\t"
      "mov %[w0], r8\n\t"
      "mov %[w1], r9\n\t"
      "mov %[w2], r10\n\t"
      "mov %[w3], r11"
      : [x] "+l"(x), [w0] "+l"(w0), [w1] "+l"(w1), [w2] "+l"(w2), [w3] "+l"(w3), [i] "+l"(i)
      :
      : "r6", "r7", "r8", "r9", "r10", "r11", "cc", "memory");
  sum[0] += reinterpret_cast<int32_t>(w0);
  sum[1] += reinterpret_cast<int32_t>(w1);
  sum[2] += reinterpret_cast<int32_t>(w2);
  sum[3] += reinterpret_cast<int32_t>(w3);
}

#undef FTTE_PRODUCT
#undef FTTE_STEP

}  // namespace

uint32_t* pack_rows(const int8_t* first, const int8_t* second, int32_t k, uint32_t* to) {
  for (const int8_t* const end = first + k; first != end; ++first, ++second, ++to) {
    *to = 0U - (static_cast<uint32_t>(*second) << 16) - static_cast<uint32_t>(*first);
  }
  if ((k & 1) != 0) *to++ = 0;
  return to;
}

void multiply_packed(const PackedRows& p) {
  const int8_t* w0 = p.w[0];
  const int8_t* w1 = p.w[1];
  int8_t* y = p.y;
  int8_t* z = y + p.outputs;
  for (const Start* start = p.start; start != p.start_end; ++start, y += 2, z += 2) {
    const int32_t begin[2] = {start->sum[0], start->sum[1]};
    int32_t sum[2][2] = {{begin[0], begin[0]}, {begin[1], begin[1]}};
    const uint32_t* const x = subtract_products(p.packed, w0, p.k[0], sum);
    w0 += 2 * p.k[0];
    if (p.k[1] != 0) {
      subtract_products(x, w1, p.k[1], sum);
      w1 += 2 * p.k[1];
    }
    const uint32_t first = start->shifts & 0xFFU;
    const uint32_t second = start->shifts >> 8;
    y[0] = store(sum[0][0], first, p.range);
    z[0] = store(sum[0][1], first, p.range);
    y[1] = store(sum[1][0], second, p.range);
    z[1] = store(sum[1][1], second, p.range);
  }
}

void multiply_row(const PackedRows& p) {
  for (int32_t channel = 0; channel < p.outputs; channel += 4) {
    // The last two channels of a number that is no multiple of four are computed with the two before.
    const int32_t o = at_most(channel, p.outputs - 4);
    const Start* const start = p.start + (o >> 1);
    int32_t sum[4] = {start[0].sum[0], start[0].sum[1], start[1].sum[0], start[1].sum[1]};
    add_products(p.x, p.w[0] + o * p.k[0], p.k[0], sum);
    if (p.k[1] != 0) add_products(p.x + p.k[0], p.w[1] + o * p.k[1], p.k[1], sum);
    p.y[o] = store(sum[0], start[0].shifts & 0xFFU, p.range);
    p.y[o + 1] = store(sum[1], start[0].shifts >> 8, p.range);
    p.y[o + 2] = store(sum[2], start[1].shifts & 0xFFU, p.range);
    p.y[o + 3] = store(sum[3], start[1].shifts >> 8, p.range);
  }
}

}  // namespace ftte::int8::fast

#endif
