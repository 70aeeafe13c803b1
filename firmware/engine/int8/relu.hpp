// The derivative of a ReLU, applied to an input gradient on its way into memory.
//
// Forward, a ReLU is the lower bound of the clip with which a layer stores its output (conv2d.hpp, Activation).
// Backward, it passes the gradient where its output is positive. Both passes of an input gradient look through this
// mask, so that what the ReLU drops has no say in the scale.
#pragma once

#include <cstdint>

#include "engine/int8/fixed.hpp"

namespace ftte::int8 {

// -1 (all bits) where the ReLU's output is positive, 0 elsewhere.
constexpr int32_t relu_mask(int8_t output) { return (-static_cast<int32_t>(output)) >> 31; }

// First pass: the largest magnitude of the sums that the ReLU lets through. `x` null: no ReLU.
class Largest {
 public:
  explicit Largest(const int8_t* x) : x_(x) {}
  void operator()(int32_t index, int32_t sum) {
    const int32_t mask = x_ != nullptr ? relu_mask(x_[index]) : -1;
    value_ = larger(value_, magnitude(sum & mask));
  }
  uint32_t value() const { return value_; }

 private:
  const int8_t* x_;
  uint32_t value_ = 0;
};

// Second pass: scales and stores.
class Store {
 public:
  Store(const int8_t* x, int32_t shift, int8_t* gx) : x_(x), shift_(shift), gx_(gx) {}
  void operator()(int32_t index, int32_t sum) {
    const int32_t mask = x_ != nullptr ? relu_mask(x_[index]) : -1;
    gx_[index] = store_gradient(sum & mask, shift_);
  }
  int32_t shift() const { return shift_; }

 private:
  const int8_t* x_;
  int32_t shift_;
  int8_t* gx_;
};

}  // namespace ftte::int8
