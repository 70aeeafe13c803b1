// WeightUpdate<Compensated> (engine/int8/update.hpp) in vectors: the same bits.
#pragma once

#include <algorithm>

#include "engine/int8/update.hpp"
#include "vectors.hpp"

namespace ftte::host {

using int8::Compensated;

// The numbers of int8::Random, many at a time.
class Randoms {
 public:
  static constexpr int32_t kCount = 64;

  explicit Randoms(int8::Random random) {
    for (int32_t i = 0; i < kCount; ++i) ahead_[i] = random.next();
  }

  // The next n.
  void take(int32_t n, uint32_t* to) {
    for (int32_t taken = 0; taken < n;) {
      const int32_t here = std::min(n - taken, kCount - used_);
      for (int32_t i = 0; i < here; ++i) to[taken + i] = ahead_[used_ + i];
      taken += here;
      used_ += here;
      if (used_ == kCount) refill();
    }
  }

 private:
  static constexpr uint32_t kFactor = 1664525U;
  static constexpr uint32_t kTerm = 1013904223U;

  struct Jump {
    uint32_t factor, term;
  };
  // kCount steps at once.
  static constexpr Jump jump() {
    Jump jump{1, 0};
    for (int32_t i = 0; i < kCount; ++i) jump = {jump.factor * kFactor, jump.term * kFactor + kTerm};
    return jump;
  }

  void refill() {
    constexpr Jump kJump = jump();
    for (uint32_t& number : ahead_) number = number * kJump.factor + kJump.term;
    used_ = 0;
  }

  uint32_t ahead_[kCount];
  int32_t used_ = 0;
};

class CompensatedUpdate {
 public:
  CompensatedUpdate(const int8::Sgd& sgd, uint32_t stream, const int8::TrainedWeights<Compensated>& weights,
                    int32_t gradient_exponent, int32_t terms)
      : layer_(sgd.learning_rate_q16, weights.exponent + Compensated::kGridBits - gradient_exponent, terms,
               kProductBits),
        lift_(weights.lift),
        q_(weights.values),
        r_(weights.residuals),
        randoms_(int8::Random(sgd.seed, stream)) {}

  void begin_channel(int32_t channel) { scale_ = layer_.of(lift_[channel], 1); }

  void step(const int32_t* sums, int32_t n) {
    const int8::UpdateScale scale = scale_;
    for_next(n, [=](int32_t i) { return int8::round_shift(sums[i], scale.pre_shift) * scale.multiplier; });
  }

  void step(int32_t gradient, const int8_t* x, int32_t n) {
    const int32_t factor = gradient * scale_.multiplier;
    for_next(n, [=](int32_t i) { return factor * x[i]; });
  }

  void finish(int8::Sgd& sgd) const { sgd.saturated += saturated_; }

 private:
  static constexpr int32_t kProductBits = 14;
  static constexpr int32_t kAtOnce = 256;

  template <class Product>
  [[gnu::always_inline]] void for_next(int32_t n, const Product& product) {
    alignas(64) uint32_t random[kAtOnce];
    alignas(64) int32_t wanted[kAtOnce];
    const int32_t shift = scale_.shift;
    int8_t* __restrict q = q_;
    int8_t* __restrict r = r_;
    for (int32_t first = 0; first < n; first += kAtOnce, q += kAtOnce, r += kAtOnce) {
      const int32_t count = std::min(n - first, kAtOnce);
      randoms_.take(count, random);
      for (int32_t i = 0; i < count; ++i) {
        const int32_t step = (product(first + i) + static_cast<int32_t>(random[i] >> (32 - shift))) >> shift;
        wanted[i] = q[i] * 256 + r[i] + 128 - step;
      }
      int32_t saturated = 0;
      for (int32_t i = 0; i < count; ++i) {
        const int32_t fine = std::min(std::max(wanted[i], INT16_MIN), INT16_MAX);
        saturated += static_cast<int32_t>(fine != wanted[i]);
        q[i] = static_cast<int8_t>(fine >> 8);
        r[i] = static_cast<int8_t>(fine ^ 0x80);
      }
      saturated_ += static_cast<uint32_t>(saturated);
    }
    q_ += n;
    r_ += n;
  }

  int8::LayerScale layer_;
  const int8_t* lift_;
  int8_t* q_;
  int8_t* r_;
  Randoms randoms_;
  int8::UpdateScale scale_{};
  uint32_t saturated_ = 0;
};

}  // namespace ftte::host
