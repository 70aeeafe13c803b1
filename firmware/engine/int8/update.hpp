// The step of stochastic gradient descent on int8 weights and int32 biases, and the arithmetic that keeps small steps.
//
// Weights. A weight is an int8 q and an int8 rounding residual r: w = (q * 256 + r) * 2^-(e + 8). The forward pass uses
// q alone, which is w rounded to nearest. A step d = learning rate * gradient is applied to the 16-bit number q * 256 +
// r, 256 times finer than q; what lies below even that grid is rounded stochastically, so that its expectation is kept:
// a thousand steps of a thousandth of a unit move the weight by one unit, and zero-mean noise moves it nowhere on
// average. (Truncation towards zero, by contrast, loses the former and lets the latter shrink every weight.)
//
// Biases. Like the accumulator they are added to, but 2^kBiasBits times finer; stochastic rounding below that too.
//
// Scale. The learning rate is reduced to 8 significant bits (relative error at most 2^-8) so that its product with an
// accumulator of up to 22 bits fits int32; longer accumulators are first rounded to 22 bits.
#pragma once

#include <cstdint>

#include "engine/int8/fixed.hpp"

namespace ftte::int8 {

inline constexpr int32_t kResidualBits = 8;
inline constexpr int32_t kBiasBits = 8;
inline constexpr int32_t kLargestBias = 1 << 29;

// step = round(accumulator * 2^-pre_shift) * multiplier * 2^-shift, in units of the parameter's fine grid.
struct UpdateScale {
  int32_t pre_shift;
  int32_t multiplier;  // 0 .. 256
  int32_t shift;       // 1 .. 30
};

// Scale of a step learning_rate_q16 * 2^-16 * accumulator * 2^exponent, for |accumulator| <= terms * 2^14 (a sum of
// `terms` products of int8). A scale above what fits (one unit of the accumulator would move a weight by a quarter of
// its int8 unit or more; training has diverged long before) is cut to the largest. Below 2^-38 it becomes 0.
UpdateScale update_scale(uint32_t learning_rate_q16, int32_t exponent, int32_t terms);

// What all updates of one step share.
struct Sgd {
  uint32_t learning_rate_q16;  // unsigned Q16.16
  uint32_t seed;               // of the stochastic rounding; a new one each step
  uint32_t saturated;          // out: parameters clipped, summed over the step
};

// Cost: one weight takes about 22 instructions on an M4, 51 on an M0, whatever the values.
class WeightUpdate {
 public:
  WeightUpdate(const UpdateScale& scale, uint32_t seed, uint32_t stream)
      : random_(seed, stream),
        half_((1 << scale.pre_shift) >> 1),
        pre_shift_(scale.pre_shift),
        multiplier_(scale.multiplier),
        shift_(scale.shift),
        dither_shift_(32 - scale.shift) {}

  // What apply() takes, of an accumulator.
  int32_t product(int32_t accumulator) const { return ((accumulator + half_) >> pre_shift_) * multiplier_; }

  // q, r -= round(product * 2^-shift), clipped to the ends of the 16-bit grid.
  [[gnu::always_inline]] void apply(int8_t& q, int8_t& r, int32_t product) {
    // A uniform number in [0, 2^shift) before the cut makes the rounding unbiased.
    const auto dither = static_cast<int32_t>(random_.next() >> dither_shift_);
    const int32_t step = (product + dither) >> shift_;
    // Half a unit of q is added, so that the high byte is q rounded to nearest and the range is that of int16.
    const int32_t wanted = q * 256 + r + 128 - step;
    const int32_t fine = saturate16(wanted);
    saturated_ += wanted != fine ? 1U : 0U;
    q = static_cast<int8_t>(fine >> 8);
    r = static_cast<int8_t>(fine ^ 0x80);
  }

  uint32_t saturated() const { return saturated_; }

 private:
  Random random_;
  int32_t half_;
  int32_t pre_shift_;
  int32_t multiplier_;
  int32_t shift_;
  int32_t dither_shift_;
  uint32_t saturated_ = 0;
};

// bias[i] -= learning rate * sum over positions of gradient[position][i], for the biases of a layer.
//
// gradient int8 [positions, channels] with gradient_exponent; bias int32 [channels] with bias_exponent (the
// accumulator's + kBiasBits), clipped to +-kLargestBias; positions <= 2^14. `stream` tells this layer's random numbers
// from those of other layers. No aliasing. Cost: positions * channels additions.
void update_bias(Sgd& sgd, uint32_t stream, const int8_t* gradient, int32_t gradient_exponent, int32_t positions,
                 int32_t channels, int32_t* bias, int32_t bias_exponent);

}  // namespace ftte::int8
