#include "engine/int8/mean_squared_error.hpp"

#include "engine/int8/fixed.hpp"

namespace ftte::int8 {
namespace {

constexpr int32_t kBits = 16;          // of the fraction of a difference
constexpr int32_t kLargest = 1 << 23;  // difference

// y * 2^(16 - exponent), clipped to +-2^23.
int32_t in_q16(int32_t y, int32_t exponent) {
  if (exponent >= kBits) return clamp(round_shift(y, exponent - kBits), -kLargest, kLargest);
  const int32_t left = kBits - exponent;
  const int32_t limit = kLargest >> left;
  return clamp(y, -limit, limit) * (1 << left);
}

// 2 / n = multiplier * 2^-shift with a multiplier of 15 bits.
struct Share {
  int32_t multiplier;
  int32_t shift;
};

Share share_of(int32_t n) {
  const int32_t bits = bit_length(static_cast<uint32_t>(n - 1));
  return {((2 << (14 + bits)) / n + 1) >> 1, 13 + bits};
}

template <typename Target>
LossResult squared_error(int32_t n, const int32_t* y, int32_t exponent, const Target& target, int8_t* gradient) {
  uint32_t sum = 0;
  uint32_t largest = 0;
  for (int32_t i = 0; i < n; ++i) {
    const int32_t difference = clamp(in_q16(y[i], exponent) - target(i), -kLargest, kLargest);
    const int32_t coarse = clamp(round_shift(difference, 4), -0x7FFF, 0x7FFF);
    sum += static_cast<uint32_t>(coarse * coarse) >> 8;
    largest = larger(largest, magnitude(difference));
  }
  const Share share = share_of(n);
  const auto loss = static_cast<uint32_t>((static_cast<uint64_t>(sum) * static_cast<uint32_t>(share.multiplier)) >>
                                          (share.shift + 1));
  const int32_t drop = at_least(bit_length(largest) - 15, 0);
  const uint32_t bound = ((largest >> drop) + 1) * static_cast<uint32_t>(share.multiplier);
  const int32_t shift = gradient_shift(bound);
  if (gradient != nullptr) {
    for (int32_t i = 0; i < n; ++i) {
      const int32_t difference = clamp(in_q16(y[i], exponent) - target(i), -kLargest, kLargest);
      gradient[i] = store_gradient(round_shift(difference, drop) * share.multiplier, shift);
    }
  }
  return {loss, kBits - drop + share.shift - shift, 0};
}

}  // namespace

LossResult mean_squared_error(int32_t n, const int32_t* y, int32_t exponent, const int8_t* target,
                              int32_t target_exponent, int8_t* gradient) {
  const int32_t unit = 1 << (kBits - target_exponent);
  return squared_error(
      n, y, exponent, [=](int32_t i) { return target[i] * unit; }, gradient);
}

LossResult mean_squared_error_label(int32_t n, const int32_t* y, int32_t exponent, uint8_t label, int8_t* gradient) {
  const auto one_hot = [=](int32_t i) { return static_cast<int32_t>((1U - differs(i, label)) << kBits); };
  LossResult result = squared_error(n, y, exponent, one_hot, gradient);
  int32_t best = y[0];
  int32_t place = 0;
  for (int32_t i = 1; i < n; ++i) {
    const int32_t beaten = (best - y[i]) >> 31;
    best ^= (best ^ y[i]) & beaten;
    place ^= (place ^ i) & beaten;
  }
  result.predicted = static_cast<uint8_t>(place);
  return result;
}

}  // namespace ftte::int8
