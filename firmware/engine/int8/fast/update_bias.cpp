#include "engine/int8/fast/update_bias.hpp"

#include "engine/int8/fast/dsp.hpp"

namespace ftte::int8::fast {

#ifdef FTTE_DSP

namespace {

constexpr int32_t kGradientBits = 7;
constexpr int32_t kLifts = 8;
constexpr int32_t kPositionsIn16Bits = 256;

// What a channel's step needs of its lift.
struct Scale {
  int32_t multiplier, shift, unit, limit;  // unit: 2^left, as update.cpp's `left`
};

// sums[j] = sum over positions of gy[position * step + j], j < 4.
[[gnu::noinline]] void sum_four(const int8_t* gy, int32_t step, int32_t positions, int32_t* sums) {
  int32_t s0 = 0;
  int32_t s1 = 0;
  int32_t s2 = 0;
  int32_t s3 = 0;
  while (positions > 0) {
    const int32_t n = positions < kPositionsIn16Bits ? positions : kPositionsIn16Bits;
    positions -= n;
    uint32_t even = 0;
    uint32_t odd = 0;
    const auto add = [&](uint32_t word) {
      even = sxtab16(even, word);
      odd = sxtab16_ror8(odd, word);
    };
    int32_t left = n;
    for (; left >= 4; left -= 4, gy += 4 * step) {
      add(read32(gy));
      add(read32(gy + step));
      add(read32(gy + 2 * step));
      add(read32(gy + 3 * step));
    }
    for (; left > 0; --left, gy += step) add(read32(gy));
    s0 += static_cast<int16_t>(even);
    s1 += static_cast<int16_t>(odd);
    s2 += static_cast<int32_t>(even) >> 16;
    s3 += static_cast<int32_t>(odd) >> 16;
  }
  sums[0] = s0;
  sums[1] = s1;
  sums[2] = s2;
  sums[3] = s3;
}

}  // namespace

void update_bias(Sgd& sgd, uint32_t stream, const int8_t* gy, int32_t gy_exponent, int32_t positions, int32_t channels,
                 int32_t* bias, const int8_t* lift, int32_t exponent) {
  if (channels % 4 != 0) {
    int8::update_bias(sgd, stream, gy, gy_exponent, positions, channels, bias, lift, exponent);
    return;
  }
  const LayerScale layer(sgd.learning_rate_q16, exponent - gy_exponent, positions, kGradientBits);
  const int32_t pre_shift = layer.of(0, 0).pre_shift;
  Scale scales[kLifts];
  for (int32_t i = 0; i < kLifts; ++i) {
    const UpdateScale scale = layer.of(i, 0);
    const int32_t left = layer.excess(i);
    scales[i] = {scale.multiplier, scale.shift, static_cast<int32_t>(1U << left), kLargestBias >> left};
  }
  Random random(sgd.seed, stream);
  uint32_t clipped = 0;
  for (int32_t channel = 0; channel < channels; channel += 4) {
    int32_t sums[4];
    sum_four(gy + channel, channels, positions, sums);
    for (int32_t j = 0; j < 4; ++j) {
      // As int8::update_bias, which says why nothing overflows.
      const Scale& scale = scales[lift[channel + j]];
      const int32_t product = clamp(round_shift(sums[j], pre_shift) * scale.multiplier, -scale.limit, scale.limit);
      const auto dither = static_cast<int32_t>((random.next() >> 1) >> (31 - scale.shift));
      const int32_t wanted = bias[channel + j] - ((product + dither) >> scale.shift) * scale.unit;
      bias[channel + j] = clamp(wanted, -kLargestBias, kLargestBias);
      clipped += differs(wanted, bias[channel + j]);
    }
  }
  sgd.saturated += clipped;
}

#else

void update_bias(Sgd& sgd, uint32_t stream, const int8_t* gy, int32_t gy_exponent, int32_t positions, int32_t channels,
                 int32_t* bias, const int8_t* lift, int32_t exponent) {
  int8::update_bias(sgd, stream, gy, gy_exponent, positions, channels, bias, lift, exponent);
}

#endif

}  // namespace ftte::int8::fast
