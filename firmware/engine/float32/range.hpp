// Activation functions as the interval in which a layer's output lies, fused into its store.
#pragma once

#include <cstdint>
#include <limits>

#include "engine/float32/bits.hpp"

namespace ftte::float32 {

// Of the stored output: {lowest, max} linear, {0, max} ReLU, {0, 6} ReLU6. `low` is 0 or std::numeric_limits' lowest
// and `high` is not negative; lowest and max stand for no bound, so that an infinity passes them.
struct Range {
  float low, high;
};

// Comparisons with a Range in integer instructions, the same ones whatever the value: the bits of floats that are not
// negative have the floats' order.
class Bounds {
 public:
  explicit Bounds(const Range& range)
      : cut_(range.low == 0.0F ? -1 : 0),
        high_(range.high == std::numeric_limits<float>::max() ? INT32_MAX : bits_of(range.high)) {}

  float clamp(float value) const {
    const int32_t bits = bits_of(value);
    const int32_t raised = bits & ~((bits >> 31) & cut_);
    const int32_t room = wrapping_difference(high_, raised);
    return from_bits(raised + (room & (room >> 31) & ~(raised >> 31)));
  }

  // 1 where low < value < high, no bound counting as infinite; else 0.
  uint32_t inside(float value) const {
    const int32_t bits = bits_of(value);
    const int32_t negative = bits >> 31;
    const int32_t positive = ~negative & (wrapping_difference(0, bits) >> 31);
    const int32_t below_high = negative | (wrapping_difference(bits, high_) >> 31);
    return static_cast<uint32_t>((positive | ~cut_) & below_high) & 1U;
  }

 private:
  static constexpr int32_t wrapping_difference(int32_t a, int32_t b) {
    return static_cast<int32_t>(static_cast<uint32_t>(a) - static_cast<uint32_t>(b));
  }

  int32_t cut_;   // all ones where negative values become 0
  int32_t high_;  // bits of the upper bound
};

}  // namespace ftte::float32
