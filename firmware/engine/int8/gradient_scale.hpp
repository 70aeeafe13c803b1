// How a gradient map goes into memory: through the gate of its activation, in a scale that the steps before have found.
//
// A gradient map is int8, |value| <= 127, with an exponent of its own that is known only when the step runs. The scale
// should bring the largest |sum| of the map just below 127; but to know that sum before the first store would take
// either an int32 copy of the map or a second pass over all products. Instead each map keeps a `peak` between steps:
//
//   store   sum * 2^-shift, rounded up or down at random, clipped to [-127, 127], with shift = gradient_shift(peak)
//   after   peak = max(largest |sum| of this step, peak - floor(peak / 16), 1)
//
// So the peak rises at once, costing the one step in which it rose some clipped elements, and decays by half within
// eleven steps. That is a compromise: with a peak that halves within ninety steps, ResNet-8 has two elements a sample
// clipped instead of 36, and its mean gradient is five per cent longer, but the scale is coarser and more is lost to
// rounding: DS-CNN, trained in full, then ends up to eleven points lower (Fashion-MNIST, `make bench`'s protocol).
//
// It is in units of the sums, not of the gradient: the gradient that comes in is stored with its own
// scale, so that the sums' size depends little on how large the loss was. A peak may begin at any value below 2^31; at
// 0, the first step keeps little more than signs.
//
// Rounding is stochastic, so that the expectation of what is stored is the sum. Rounding to nearest loses all that is
// below half a unit, which deep in a network is most of a map: in ResNet-8 the mean gradient of the second layer then
// keeps half its length and turns by 70 degrees; with stochastic rounding by 9. Each map has its own random numbers: of
// the step's seed and the peak, which differs between maps.
#pragma once

#include <cstdint>

#include "engine/int8/fixed.hpp"
#include "engine/int8/sgd.hpp"

namespace ftte::int8 {

inline constexpr int32_t kLargestGradient = 127;
inline constexpr int32_t kPeakDecay = 4;  // the peak loses 2^-kPeakDecay of itself a step

// The peak after a step whose largest |sum| was `largest`; both below 2^31.
constexpr uint32_t next_peak(uint32_t peak, uint32_t largest) {
  return larger(larger(largest, peak - (peak >> kPeakDecay)), 1U);
}

// The gates of one map, one bit an element, LSB first; null: all open. Costs the same either way.
class Gate {
 public:
  explicit Gate(const uint8_t* bits) : bits_(bits != nullptr ? bits : &kOpen), used_(bits != nullptr ? -1 : 0) {}

  // -1 (all bits) where the gate is open, else 0.
  [[gnu::always_inline]] int32_t mask(int32_t index) const {
    return -((bits_[(index >> 3) & used_] >> (index & 7)) & 1);
  }

 private:
  static constexpr uint8_t kOpen = 0xFF;

  const uint8_t* bits_;
  int32_t used_;
};

// Where a kernel puts the sums of one gradient map. About 33 instructions an element on an M4, whatever the values.
class GradientStore {
 public:
  // gate: null, or the bits of gx's map.
  GradientStore(const Sgd& sgd, const uint8_t* gate, uint32_t peak, int8_t* gx)
      : gate_(gate), gx_(gx), shift_(gradient_shift(peak)), random_(sgd.seed, ~peak) {}

  // The next element. |sum| <= 2^31 - 2^24: then neither the rounding, which adds less than 2^24 (shift <= 24), nor
  // clamp's differences leave int32.
  [[gnu::always_inline]] void put(int32_t sum) {
    const int32_t passed = sum & gate_.mask(next_);
    largest_ = larger(largest_, magnitude(passed));
    const auto dither = static_cast<int32_t>((random_.next() >> 1) >> (31 - shift_));
    const int32_t rounded = (passed + dither) >> shift_;
    const int32_t stored = clamp(rounded, -kLargestGradient, kLargestGradient);
    clipped_ += differs(rounded, stored);
    gx_[next_] = static_cast<int8_t>(stored);
    ++next_;
  }

  // The next n elements.
  void put(const int32_t* sums, int32_t n);

  // After the last: renews the peak, counts what was clipped, and returns the shift: the exponent of what was stored is
  // that of the sums minus it.
  int32_t finish(Sgd& sgd, uint32_t* peak) const;

 private:
  Gate gate_;
  int8_t* gx_;
  int32_t shift_;
  Random random_;
  int32_t next_ = 0;
  uint32_t largest_ = 0;
  uint32_t clipped_ = 0;
};

}  // namespace ftte::int8
