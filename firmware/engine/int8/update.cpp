#include "engine/int8/update.hpp"

namespace ftte::int8 {
namespace {

constexpr int32_t kAccumulatorBits = 22;
constexpr int32_t kGradientBits = 7;

}  // namespace

LayerScale::LayerScale(uint32_t learning_rate_q16, int32_t exponent, int32_t terms, int32_t term_bits) {
  const int32_t excess = at_least(bit_length(learning_rate_q16) - kRateBits, 0);
  const uint32_t round_up = ((learning_rate_q16 << 1) >> excess) & 1U & static_cast<uint32_t>(-excess >> 31);
  mantissa_ = static_cast<int32_t>((learning_rate_q16 >> excess) + round_up);
  pre_shift_ = at_least(bit_length(static_cast<uint32_t>(terms - 1)) + term_bits - kAccumulatorBits, 0);
  right_ = 16 - excess - exponent - pre_shift_;
}

void update_bias(Sgd& sgd, uint32_t stream, const int8_t* gy, int32_t gy_exponent, int32_t positions, int32_t channels,
                 int32_t* bias, const int8_t* lift, int32_t exponent) {
  const LayerScale layer(sgd.learning_rate_q16, exponent - gy_exponent, positions, kGradientBits);
  Random random(sgd.seed, stream);
  uint32_t clipped = 0;
  for (int32_t channel = 0; channel < channels; ++channel) {
    int32_t sum = 0;
    for (int32_t i = 0; i < positions; ++i) sum += gy[i * channels + channel];
    const UpdateScale scale = layer.of(lift[channel], 0);
    const int32_t left = layer.excess(lift[channel]);
    const int32_t limit = kLargestBias >> left;
    // The product is at most 2^22 * 2^8; after clamp nothing exceeds 2^29, so its differences fit too.
    const int32_t product = clamp(round_shift(sum, scale.pre_shift) * scale.multiplier, -limit, limit);
    const auto dither = static_cast<int32_t>((random.next() >> 1) >> (31 - scale.shift));
    // Either shift is 0; the multiplication is the left shift of a signed value.
    const int32_t step = ((product + dither) >> scale.shift) * static_cast<int32_t>(1U << left);
    const int32_t wanted = bias[channel] - step;
    bias[channel] = clamp(wanted, -kLargestBias, kLargestBias);
    clipped += differs(wanted, bias[channel]);
  }
  sgd.saturated += clipped;
}

}  // namespace ftte::int8
