#include "engine/int8/fast/depthwise2d_input_gradient.hpp"

#include "engine/int8/gradient_sums.hpp"

#ifdef FTTE_BLOCKS

namespace ftte::int8::fast {
namespace {

#ifdef FTTE_DSP

// One tap's four products, from %[list] on.
#define FTTE_TAP                        \
  "ldrd %[x], %[y], [%[list]], #8\n\t"  \
  "ldr %[x], [%[x], %[channel]]\n\t"    \
  "ldr %[y], [%[y], %[channel]]\n\t"    \
  "sxtb16 %[v], %[x]\n\t"               \
  "sxtb16 %[z], %[y]\n\t"               \
  "smlabb %[a0], %[v], %[z], %[a0]\n\t" \
  "smlatt %[a2], %[v], %[z], %[a2]\n\t" \
  "sxtb16 %[x], %[x], ror #8\n\t"       \
  "sxtb16 %[y], %[y], ror #8\n\t"       \
  "smlabb %[a1], %[x], %[y], %[a1]\n\t" \
  "smlatt %[a3], %[x], %[y], %[a3]\n\t"

// sums of channels [first, last), multiples of four, each shifted left by its lift; at least one tap.
[[gnu::noinline]] void multiply_taps(const Tap* taps, const Tap* end, const int8_t* lift, int32_t first, int32_t last,
                                     int32_t* sums) {
  register int32_t a0 asm("r4");
  register int32_t a1 asm("r5");
  register int32_t a2 asm("r6");
  register int32_t a3 asm("r7");
  const Tap* list;
  int32_t x, y, v, z;
  // Taps in twos; an odd number begins in the middle.
  asm volatile(
      "1:\n\t"
      "mov %[list], %[taps]\n\t"
      "mov %[a0], #0\n\t"
      "mov %[a1], #0\n\t"
      "mov %[a2], #0\n\t"
      "sub %[x], %[end], %[list]\n\t"
      "mov %[a3], #0\n\t"
      "tst %[x], #8\n\t"
      "bne 3f\n\t"
      "2:\n\t" FTTE_TAP "3:\n\t" FTTE_TAP
      "cmp %[list], %[end]\n\t"
      "bne 2b\n\t"
      "ldr %[x], %[lift]\n\t"
      "ldr %[x], [%[x], %[channel]]\n\t"
      "lsl %[a0], %[a0], %[x]\n\t"
      "lsr %[x], %[x], #8\n\t"
      "lsl %[a1], %[a1], %[x]\n\t"
      "lsr %[x], %[x], #8\n\t"
      "lsl %[a2], %[a2], %[x]\n\t"
      "lsr %[x], %[x], #8\n\t"
      "lsl %[a3], %[a3], %[x]\n\t"
      "add %[channel], %[channel], #4\n\t"
      "stm %[sums]!, {r4-r7}\n\t"
      "ldr %[x], %[last]\n\t"
      "cmp %[channel], %[x]\n\t"
      "bne 1b"
      : [a0] "=&r"(a0), [a1] "=&r"(a1), [a2] "=&r"(a2), [a3] "=&r"(a3), [list] "=&r"(list), [x] "=&r"(x), [y] "=&r"(y),
        [v] "=&r"(v), [z] "=&r"(z), [channel] "+r"(first), [sums] "+r"(sums)
      : [taps] "r"(taps), [end] "r"(end), [lift] "m"(lift), [last] "m"(last)
      : "cc", "memory");
}

#undef FTTE_TAP

#else

[[gnu::noinline]] void multiply_taps(const Tap* taps, const Tap* end, const int8_t* lift, int32_t first, int32_t last,
                                     int32_t* sums) {
  for (; first != last; first += 4, sums += 4) {
    int32_t a0 = 0;
    int32_t a1 = 0;
    int32_t a2 = 0;
    int32_t a3 = 0;
    for (const Tap* tap = taps; tap != end; ++tap) {
      const int8_t* const g = tap->gy + first;
      const int8_t* const w = tap->w + first;
      a0 += g[0] * w[0];
      a1 += g[1] * w[1];
      a2 += g[2] * w[2];
      a3 += g[3] * w[3];
    }
    sums[0] = lifted(a0, lift[first]);
    sums[1] = lifted(a1, lift[first + 1]);
    sums[2] = lifted(a2, lift[first + 2]);
    sums[3] = lifted(a3, lift[first + 3]);
  }
}

#endif

// Channels whose weights lie together: those trained, or those frozen. The other pointers begin with their channels.
struct Part {
  const int8_t* weights;  // [taps][channels]
  const int8_t* gy;
  const int8_t* lift;
  int32_t channels;
};

}  // namespace

int32_t depthwise_input_gradient(Sgd& sgd, const Conv2dShape& shape, const int8_t* gy, const Weights<int8_t>& weights,
                                 const int8_t* lift, const uint8_t* gate, uint32_t* peak, void* scratch, int8_t* gx) {
  auto* const sums = static_cast<int32_t*>(scratch);
  auto* const taps = reinterpret_cast<Tap*>(sums + Store::kMost);
  const int32_t trained = weights.trained_in;
  const Part parts[] = {{weights.trained, gy, lift, trained},
                        {weights.frozen, gy + trained, lift + trained, shape.in_c - trained}};
  Store store(sgd, gate, *peak, gx);
  uint32_t random = store.first();
  int32_t index = 0;
  for_inputs(shape, [&](const Reach& row, const Reach& column) {
    for (const Part& part : parts) {
      if (part.channels == 0) continue;
      Tap* end = taps;
      for_reached(shape, row, column, [&](int32_t tap, int32_t position) {
        *end++ = {part.gy + position * shape.out_c, part.weights + tap * part.channels};
      });
      for (int32_t first = 0; first < part.channels; first += Store::kMost) {
        const int32_t n = part.channels - first < Store::kMost ? part.channels - first : Store::kMost;
        if (end != taps) {
          multiply_taps(taps, end, part.lift, first, first + n, sums);
        } else {
          for (int32_t i = 0; i < n; ++i) sums[i] = 0;
        }
        random = store.put<2>(index, n, sums, random);
        index += n;
      }
    }
  });
  return store.finish(sgd, peak);
}

}  // namespace ftte::int8::fast

#endif
