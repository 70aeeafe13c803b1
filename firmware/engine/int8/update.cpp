#include "engine/int8/update.hpp"

namespace ftte::int8 {
namespace {

constexpr int32_t kAccumulatorBits = 22;
constexpr int32_t kProductBits = 14;  // of two int8
constexpr int32_t kRateBits = 8;
constexpr int32_t kLargestShift = 30;

struct Rate {
  int32_t mantissa;  // 0 .. 256
  int32_t exponent;  // rate = mantissa * 2^exponent
};

// mantissa * 2^-right as a factor and a shift that an int32 allows; 0 when nothing is left of it.
struct Factor {
  int32_t multiplier;
  int32_t shift;  // lowest .. 30
};

Factor factor(int32_t mantissa, int32_t right, int32_t lowest) {
  const int32_t wanted = clamp(right, lowest, kLargestShift + kRateBits + 2);
  const int32_t shift = at_most(wanted, kLargestShift);
  return {round_shift(mantissa, wanted - shift), shift};
}

Rate reduce_rate(uint32_t learning_rate_q16) {
  const int32_t excess = at_least(bit_length(learning_rate_q16) - kRateBits, 0);
  const uint32_t round_up = ((learning_rate_q16 << 1) >> excess) & 1U & static_cast<uint32_t>(-excess >> 31);
  return {static_cast<int32_t>((learning_rate_q16 >> excess) + round_up), excess - 16};
}

}  // namespace

UpdateScale update_scale(uint32_t learning_rate_q16, int32_t exponent, int32_t terms) {
  const Rate rate = reduce_rate(learning_rate_q16);
  const int32_t term_bits = bit_length(static_cast<uint32_t>(terms - 1));
  const int32_t pre_shift = at_least(term_bits + kProductBits - kAccumulatorBits, 0);
  const Factor scale = factor(rate.mantissa, -(rate.exponent + exponent + pre_shift), 1);
  return {pre_shift, scale.multiplier, scale.shift};
}

void update_bias(Sgd& sgd, uint32_t stream, const int8_t* gradient, int32_t gradient_exponent, int32_t positions,
                 int32_t channels, int32_t* bias, int32_t bias_exponent) {
  const Rate rate = reduce_rate(sgd.learning_rate_q16);
  const int32_t right = -(rate.exponent + bias_exponent - gradient_exponent);  // step = sum * mantissa * 2^-right
  const Factor scale = factor(rate.mantissa, right, 0);
  const int32_t left = clamp(-right, 0, kLargestShift);
  Random random(sgd.seed, stream);
  for (int32_t channel = 0; channel < channels; ++channel) {
    int32_t sum = 0;
    for (int32_t i = 0; i < positions; ++i) sum += gradient[i * channels + channel];
    // |sum| <= 2^14 * 2^7, so the product fits; nothing here exceeds 2^30, so clamp's differences fit too.
    const int32_t product = clamp(sum * scale.multiplier, -(kLargestBias >> left), kLargestBias >> left);
    const auto dither = static_cast<int32_t>((random.next() >> 1) >> (31 - scale.shift));
    // Either shift is 0; the multiplication is the left shift of a signed value.
    const int32_t step = ((product + dither) >> scale.shift) * static_cast<int32_t>(1U << left);
    const int32_t wanted = bias[channel] - step;
    bias[channel] = clamp(wanted, -kLargestBias, kLargestBias);
    sgd.saturated += differs(wanted, bias[channel]);
  }
}

}  // namespace ftte::int8
