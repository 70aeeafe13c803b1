#include "engine/int8/fast/gradient_store.hpp"

#ifdef FTTE_BLOCKS

namespace ftte::int8::fast {
namespace {

// The gates of up to 32 elements from `index` on, lowest first; of null, all open. Reads no byte that has none of them.
[[gnu::always_inline]] inline uint32_t gates(const uint8_t* gate, int32_t index, int32_t n) {
  if (gate == nullptr) return UINT32_MAX;
  const uint8_t* byte = gate + (index >> 3);
  const int32_t in_byte = index & 7;
  if (n == 32 && in_byte == 0) return read32(byte);
  uint32_t bits = static_cast<uint32_t>(*byte++) >> in_byte;
  for (int32_t have = 8 - in_byte; have < n; have += 8) bits |= static_cast<uint32_t>(*byte++) << have;
  return bits;
}

// One element after the other, as GradientStore does it.
struct Element {
  int32_t shift;
  int32_t largest;
  uint32_t clipped;
  uint32_t random;

  // The byte of a sum whose gate is the lowest bit.
  [[gnu::always_inline]] int8_t operator()(int32_t sum, uint32_t gate) {
    const int32_t passed = sum & -static_cast<int32_t>(gate & 1U);
    largest = at_least(largest, static_cast<int32_t>(magnitude(passed)));
    const auto dither = static_cast<int32_t>((random >> 1) >> (31 - shift));
    random = jump_over(1)(random);
    const int32_t rounded = (passed + dither) >> shift;
    const int32_t stored = clamp(rounded, -kLargestGradient, kLargestGradient);
    clipped += differs(rounded, stored);
    return static_cast<int8_t>(stored);
  }
};

#ifdef FTTE_DSP

// Of the sum in %[x] one byte; `bit` of the gates is its own.
#define FTTE_ELEMENT(x, bit)                 \
  "sbfx %[t], %[gates], #" #bit              \
  ", #1\n\t"                                 \
  "and %[" #x "], %[" #x                     \
  "], %[t]\n\t"                              \
  "eor %[t], %[" #x "], %[" #x               \
  "], asr #31\n\t"                           \
  "sub %[t], %[t], %[" #x                    \
  "], asr #31\n\t"                           \
  "qadd %[room], %[t], %[room]\n\t"          \
  "sub %[room], %[room], %[t]\n\t"           \
  "lsr %[t], %[random], %[drop]\n\t"         \
  "mla %[random], %[random], %[a], %[c]\n\t" \
  "add %[" #x "], %[" #x                     \
  "], %[t]\n\t"                              \
  "asr %[" #x "], %[" #x                     \
  "], %[shift]\n\t"                          \
  "add %[" #x "], %[" #x                     \
  "], #127\n\t"                              \
  "cmp %[" #x                                \
  "], #255\n\t"                              \
  "adc %[clipped], %[clipped], #0\n\t"       \
  "usat %[" #x "], #8, %[" #x "]\n\t"

#endif

}  // namespace

#ifdef FTTE_DSP

template <int32_t kStep>
uint32_t Store::put(int32_t index, int32_t n, const int32_t* sums, uint32_t random) {
  uint32_t bits = gates(gate_, index, n);
  int8_t* to = gx_ + index;
  const int8_t* const end = to + n;
  uint32_t word, x, t, clipped = clipped_;
  int32_t room = room_;
  asm volatile(
      "1:\n\t"
      "ldrd %[word], %[x], [%[sums]], %[step]\n\t" FTTE_ELEMENT(word, 0) FTTE_ELEMENT(x, 1)
      "orr %[word], %[word], %[x], lsl #8\n\t"
      "ldr %[x], [%[sums]]\n\t" FTTE_ELEMENT(x, 2)
      "orr %[word], %[word], %[x], lsl #16\n\t"
      "ldr %[x], [%[sums], #4]\n\t" FTTE_ELEMENT(x, 3)
      "add %[sums], %[sums], %[step]\n\t"
      "orr %[word], %[word], %[x], lsl #24\n\t"
      "mov %[t], #0x01010101\n\t"
      "uqadd8 %[word], %[word], %[t]\n\t"
      "eor %[word], %[word], #0x80808080\n\t"
      "str %[word], [%[to]], #4\n\t"
      "lsr %[gates], %[gates], #4\n\t"
      "ldr %[t], %[end]\n\t"
      "cmp %[to], %[t]\n\t"
      "bne 1b"
      : [word] "=&r"(word), [x] "=&r"(x), [t] "=&r"(t), [sums] "+r"(sums), [to] "+r"(to), [gates] "+r"(bits),
        [random] "+r"(random), [room] "+r"(room), [clipped] "+r"(clipped)
      : [step] "i"(4 * kStep), [a] "r"(jump_over(1).factor), [c] "r"(jump_over(1).term), [shift] "r"(shift_),
        [drop] "r"(32 - shift_), [end] "m"(end)
      : "cc", "memory");
  room_ = room;
  clipped_ = clipped;
  return random;
}

#undef FTTE_ELEMENT

#else

template <int32_t kStep>
uint32_t Store::put(int32_t index, int32_t n, const int32_t* sums, uint32_t random) {
  uint32_t bits = gates(gate_, index, n);
  Element element{shift_, INT32_MAX - room_, clipped_, random};
  int8_t* to = gx_ + index;
  for (const int8_t* const end = to + n; to != end; sums += kStep, to += 2, bits >>= 2) {
    to[0] = element(sums[0], bits);
    to[1] = element(sums[1], bits >> 1);
  }
  room_ = INT32_MAX - element.largest;
  clipped_ = element.clipped;
  return element.random;
}

#endif

uint32_t Store::put_pair(int32_t index, const int32_t* sums, uint32_t random) {
  const uint32_t bits = gates(gate_, index, 2);
  Element element{shift_, INT32_MAX - room_, clipped_, random};
  gx_[index] = element(sums[0], bits);
  gx_[index + 1] = element(sums[1], bits >> 1);
  room_ = INT32_MAX - element.largest;
  clipped_ = element.clipped;
  return element.random;
}

template uint32_t Store::put<2>(int32_t, int32_t, const int32_t*, uint32_t);
template uint32_t Store::put<8>(int32_t, int32_t, const int32_t*, uint32_t);

}  // namespace ftte::int8::fast

#endif
