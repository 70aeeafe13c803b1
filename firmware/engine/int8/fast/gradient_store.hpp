// gradient_scale.hpp's store, bit for bit, in any order and, with the DSP extension, in half the instructions.
//
// A map may be written in any order: element i takes the i-th random number whichever way, as the generator jumps over
// n numbers (random.hpp). So a kernel may work on blocks of rows, and keeps one random number for each.
//
// What makes it short there:
//   largest   kept as room = 2^31 - 1 - largest: room' = qadd(|sum|, room) - |sum|, two instructions
//   rounding  the random number is made one element ahead, in place
//   clipping  u = rounded + 127 is clipped where u >= 255, unsigned: compare, add the carry; usat brings it to 0 .. 255
//   storing   four at a time: uqadd8 of 1 makes 255 of both 254 and 255; flipping the top bits subtracts 128
#pragma once

#include "engine/int8/fast/dsp.hpp"
#include "engine/int8/fast/random.hpp"
#include "engine/int8/gradient_scale.hpp"

namespace ftte::int8::fast {

#ifdef FTTE_BLOCKS

// Zeroes n words, a multiple of 8: newlib's memset for small flash takes two instructions a word.
[[gnu::always_inline]] inline void clear(int32_t* words, int32_t n) {
  const int32_t* const end = words + n;
  asm volatile(
      "movs r4, #0\n\tmovs r5, #0\n\tmovs r6, #0\n\tmovs r3, #0\n"
      "1:\n\tstmia %[words]!, {r3-r6}\n\tstmia %[words]!, {r3-r6}\n\t"
      "cmp %[words], %[end]\n\tbne 1b"
      : [words] "+l"(words)
      : [end] "l"(end)
      : "r3", "r4", "r5", "r6", "cc", "memory");
}

class Store {
 public:
  static constexpr int32_t kMost = 32;  // elements of one put()

  // gate: null, or the bits of gx's map.
  Store(const Sgd& sgd, const uint8_t* gate, uint32_t peak, int8_t* gx)
      : gate_(gate), gx_(gx), shift_(gradient_shift(peak)), first_(Random(sgd.seed, ~peak).next()) {}

  // The random number of element 0.
  uint32_t first() const { return first_; }

  // Elements [index, index + n), n <= kMost a multiple of 4. Their sums lie in pairs, kStep words from one to the next;
  // |sum| <= 2^31 - 2^24. `random`: the first one's number; returns that of the one behind the last.
  // Cost with the DSP extension: 17.5 instructions an element, and about 45.
  template <int32_t kStep>
  [[gnu::noinline]] uint32_t put(int32_t index, int32_t n, const int32_t* sums, uint32_t random);

  // The same of the two elements index and index + 1. Cost: about 60 instructions.
  [[gnu::noinline]] uint32_t put_pair(int32_t index, const int32_t* sums, uint32_t random);

  // As GradientStore's.
  int32_t finish(Sgd& sgd, uint32_t* peak) const {
    *peak = next_peak(*peak, static_cast<uint32_t>(INT32_MAX - room_));
    sgd.saturated += clipped_;
    return shift_;
  }

 private:
  const uint8_t* gate_;
  int8_t* gx_;
  int32_t shift_;
  uint32_t first_;
  int32_t room_ = INT32_MAX;
  uint32_t clipped_ = 0;
};

#endif

}  // namespace ftte::int8::fast
