// The step of stochastic gradient descent on int8 weights and int32 biases, and what becomes of small steps.
//
// A step is d = learning rate * gradient, in real units: each parameter's exponent enters as an exact power of two.
// What is done with it is the update rule:
//
//   Compensated  A weight is an int8 q and an int8 rounding residual r: w = (q * 256 + r) * 2^-(e + 8). The forward
//                pass uses q alone, which is w rounded to nearest. d is applied to the 16-bit number q * 256 + r, 256
//                times finer than q; what lies below even that grid is rounded stochastically, so that its expectation
//                is kept: a thousand steps of a thousandth of q's unit move the weight by one unit, and zero-mean noise
//                moves it nowhere on average. Clips at the ends of the 16-bit grid.
//   Compensated4 The same with a residual of four bits, two residuals a byte: w = (q * 16 + r) * 2^-(e + 4). A weight
//                takes 1.5 bytes; its grid is 16 times finer than q, and the rounding noise of a step 16 times coarser
//                than Compensated's, though of expectation zero.
//   Accumulated  The step is rounded likewise but collected in an int16, in units of q / 256, while q stays until
//                fold_weights() at the end of a batch (fold.hpp). The sum of a batch's steps is the step of its mean
//                gradient if the learning rate is divided by the batch's size. Clips at int16.
//   Truncated    No residual: d is cut towards zero to q's own unit, as integer engines without a compensation do.
//   Steps
//                below one unit are lost, and steps around zero shrink. Clips at int8. For comparison.
//
// Biases are int32, kBiasBits finer than their layer's sums, with stochastic rounding below that.
//
// Scale. The learning rate is reduced to 8 significant bits (relative error at most 2^-8) so that its product with an
// accumulator of up to 22 bits fits int32; longer accumulators are first rounded to 22 bits. A sum over positions of
// products of a gradient (|gy| <= 127) and an activation (|x| <= 128) fits int32 with room for that rounding: up to
// 2^17 positions, 127 * 128 * 2^17 = 2^31 - 2^24.
#pragma once

#include <cstdint>

#include "engine/int8/fixed.hpp"
#include "engine/int8/sgd.hpp"

namespace ftte::int8 {

inline constexpr int32_t kResidualBits = 8;
inline constexpr int32_t kPackedResidualBits = 4;
inline constexpr int32_t kLargestBias = 1 << 29;

// step = round(accumulator * 2^-pre_shift) * multiplier * 2^-shift, in units of the parameter's grid.
struct UpdateScale {
  int32_t pre_shift;
  int32_t multiplier;  // 0 .. 256
  int32_t shift;       // at most 30
};

// The scales of a layer's channels, which differ by powers of two.
class LayerScale {
 public:
  // Of steps learning_rate_q16 * 2^-16 * accumulator * 2^(exponent - lift), for |accumulator| <= terms * 2^term_bits.
  LayerScale(uint32_t learning_rate_q16, int32_t exponent, int32_t terms, int32_t term_bits);

  // Of a channel. A step above what fits the shift `lowest` (0 or 1) is cut to the largest; for a weight, one unit of
  // its accumulator then moves it by a quarter of q's unit or more, and training has diverged long before. Below 2^-38
  // a unit of the accumulator becomes 0.
  UpdateScale of(int32_t lift, int32_t lowest) const {
    const int32_t wanted = clamp(right_ + lift, lowest, kLargestShift + kRateBits + 2);
    const int32_t shift = at_most(wanted, kLargestShift);
    return {pre_shift_, round_shift(mantissa_, wanted - shift), shift};
  }

  // By how much more a channel's steps have to be shifted left, 0 .. 30, where `of(lift, 0)` was cut.
  int32_t excess(int32_t lift) const { return clamp(-(right_ + lift), 0, kLargestShift); }

 private:
  static constexpr int32_t kRateBits = 8;
  static constexpr int32_t kLargestShift = 30;

  int32_t mantissa_;  // of the learning rate
  int32_t right_;     // step = round(accumulator * 2^-pre_shift) * mantissa * 2^-(right + lift)
  int32_t pre_shift_;
};

// A step with its fraction rounded up or down at random, so that its expectation is exact; 1 <= shift <= 30, |product|
// <= 2^30. Costs one random number.
[[gnu::always_inline]] inline int32_t stochastic_step(int32_t product, int32_t shift, Random& random) {
  return (product + static_cast<int32_t>(random.next() >> (32 - shift))) >> shift;
}

// The rules. kGridBits: by how much finer than q's unit their steps are. apply() makes the step product * 2^-shift on
// weight `i` and returns 1 if it was clipped, else 0.

struct Compensated {
  using Residual = int8_t;
  static constexpr int32_t kGridBits = kResidualBits;

  [[gnu::always_inline]] static uint32_t apply(int8_t* q, Residual* r, int32_t i, int32_t product, int32_t shift,
                                               Random& random) {
    const int32_t step = stochastic_step(product, shift, random);
    // Half a unit of q is added, so that the high byte is q rounded to nearest and the range is that of int16.
    const int32_t wanted = q[i] * 256 + r[i] + 128 - step;
    const int32_t fine = saturate16(wanted);
    q[i] = static_cast<int8_t>(fine >> 8);
    r[i] = static_cast<int8_t>(fine ^ 0x80);
    return differs(wanted, fine);
  }
};

struct Compensated4 {
  using Residual = uint8_t;  // of two weights: the even one's in the low half
  static constexpr int32_t kGridBits = kPackedResidualBits;

  [[gnu::always_inline]] static uint32_t apply(int8_t* q, Residual* r, int32_t i, int32_t product, int32_t shift,
                                               Random& random) {
    const int32_t step = stochastic_step(product, shift, random);
    uint8_t* const pair = r + (i >> 1);
    const int32_t place = (i & 1) * 4;
    // As above, with half a unit of q added: to a residual of four bits in two's complement by flipping its sign.
    const int32_t wanted = q[i] * 16 + (((*pair >> place) & 15) ^ 8) - step;
    const int32_t fine = clamp(wanted, INT8_MIN * 16, INT8_MAX * 16 + 15);
    q[i] = static_cast<int8_t>(fine >> 4);
    *pair = static_cast<uint8_t>((*pair & (0xF0 >> place)) | (((fine & 15) ^ 8) << place));
    return differs(wanted, fine);
  }
};

struct Accumulated {
  using Residual = int16_t;
  static constexpr int32_t kGridBits = kResidualBits;

  [[gnu::always_inline]] static uint32_t apply(int8_t* q, Residual* pending, int32_t i, int32_t product, int32_t shift,
                                               Random& random) {
    static_cast<void>(q);
    const int32_t wanted = pending[i] - stochastic_step(product, shift, random);
    const int32_t kept = saturate16(wanted);
    pending[i] = static_cast<int16_t>(kept);
    return differs(wanted, kept);
  }
};

struct Truncated {
  using Residual = void;
  static constexpr int32_t kGridBits = 0;

  [[gnu::always_inline]] static uint32_t apply(int8_t* q, Residual* none, int32_t i, int32_t product, int32_t shift,
                                               Random& random) {
    static_cast<void>(none);
    static_cast<void>(random);
    const int32_t sign = product >> 31;
    const int32_t step = ((((product ^ sign) - sign) >> shift) ^ sign) - sign;
    const int32_t wanted = q[i] - step;
    const int32_t kept = clamp(wanted, INT8_MIN, INT8_MAX);
    q[i] = static_cast<int8_t>(kept);
    return differs(wanted, kept);
  }
};

// A layer's weights in RAM, laid out as the layer says.
template <class Rule>
struct TrainedWeights {
  int8_t* values;                      // Accumulated: not read
  typename Rule::Residual* residuals;  // alike; Truncated: null
  int32_t trained_in;                  // input channels of each group (depthwise: channels) that train
  const int8_t* lift;                  // [out_c]
  int32_t exponent;                    // of channel o's values: exponent - lift[o]
};

// Takes the gradients of a layer's weights in the order in which they lie, each with its random number, from the stream
// `stream` (a layer's number).
//
// Cost of a weight: Compensated about 22 instructions on an M4, 51 on an M0, whatever the values; Compensated4 a few
// more.
template <class Rule>
class WeightUpdate {
 public:
  // gradient_exponent: of the accumulators, each a sum of at most `terms` products of two int8.
  WeightUpdate(const Sgd& sgd, uint32_t stream, const TrainedWeights<Rule>& weights, int32_t gradient_exponent,
               int32_t terms)
      : layer_(sgd.learning_rate_q16, weights.exponent + Rule::kGridBits - gradient_exponent, terms, kProductBits),
        lift_(weights.lift),
        tail_{weights.values, weights.residuals, 0, Random(sgd.seed, stream), 0} {}

  // Before the weights of an output channel that lie together.
  void begin_channel(int32_t channel) { scale_ = layer_.of(lift_[channel], 1); }

  // The next n weights, of that channel, with these accumulators.
  void step(const int32_t* sums, int32_t n) {
    const UpdateScale scale = scale_;
    for_next(n, [&](Tail& tail, int32_t i) { tail.step(scaled(sums[i], scale), scale.shift); });
  }

  // The next n weights, of that channel, with the accumulators gradient * x[i], of one term each.
  void step(int32_t gradient, const int8_t* x, int32_t n) {
    const int32_t factor = gradient * scale_.multiplier;  // with one term nothing is shifted out before
    const int32_t shift = scale_.shift;
    for_next(n, [&](Tail& tail, int32_t i) { tail.step(factor * x[i], shift); });
  }

  // The next n weights, one each of the channels from `channel` on.
  void step_channels(int32_t channel, const int32_t* sums, int32_t n) {
    const LayerScale layer = layer_;
    const int8_t* const lift = lift_ + channel;
    for_next(n, [&](Tail& tail, int32_t i) {
      const UpdateScale scale = layer.of(lift[i], 1);
      tail.step(scaled(sums[i], scale), scale.shift);
    });
  }

  // After the last.
  void finish(Sgd& sgd) const { sgd.saturated += tail_.saturated; }

 private:
  static constexpr int32_t kProductBits = 14;

  // The weights that are still to come.
  struct Tail {
    int8_t* values;
    typename Rule::Residual* residuals;
    int32_t next;
    Random random;
    uint32_t saturated;

    [[gnu::always_inline]] void step(int32_t product, int32_t shift) {
      saturated += Rule::apply(values, residuals, next, product, shift, random);
      ++next;
    }
  };

  static constexpr int32_t scaled(int32_t sum, const UpdateScale& scale) {
    return round_shift(sum, scale.pre_shift) * scale.multiplier;
  }

  // Works on a copy, which lies in registers: a store through an int8 pointer could write to the members.
  template <typename Body>
  [[gnu::always_inline]] void for_next(int32_t n, const Body& body) {
    Tail tail = tail_;
    for (int32_t i = 0; i < n; ++i) body(tail, i);
    tail_ = tail;
  }

  LayerScale layer_;
  const int8_t* lift_;
  Tail tail_;
  UpdateScale scale_{};
};

// bias[o] -= learning rate * sum over positions of gy[position][o].
//
// gy int8 [positions][channels] with gy_exponent, |gy| <= 127; bias int32 [channels], that of channel o with exponent
// `exponent` - lift[o], clipped to +-kLargestBias; positions <= 2^17. Given a `pending` that is 0 at the start of a
// batch in place of the bias, collects the steps for fold_bias() (fold.hpp). No aliasing. Cost: positions * channels
// additions.
void update_bias(Sgd& sgd, uint32_t stream, const int8_t* gy, int32_t gy_exponent, int32_t positions, int32_t channels,
                 int32_t* bias, const int8_t* lift, int32_t exponent);

}  // namespace ftte::int8
