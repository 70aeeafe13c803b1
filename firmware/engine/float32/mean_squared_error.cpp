#include "engine/float32/mean_squared_error.hpp"

#include "engine/float32/bits.hpp"

namespace ftte::float32 {
namespace {

// difference(i) is y - target of element i; reads nothing that writing gradient[i] changes later.
template <typename Difference>
float mean_square(int32_t n, float* gradient, const Difference& difference) {
  const float share = 1.0F / static_cast<float>(n);
  float sum = 0.0F;
  for (int32_t i = 0; i < n; ++i) {
    const float error = difference(i);
    sum += error * error;
    gradient[i] = 2.0F * error * share;
  }
  return sum * share;
}

}  // namespace

LossResult mean_squared_error(int32_t n, const float* y, const float* target, float* gradient) {
  return {mean_square(n, gradient, [&](int32_t i) { return y[i] - target[i]; }), 0};
}

LossResult mean_squared_error_label(int32_t n, const float* y, uint8_t label, float* gradient) {
  const uint32_t predicted = greatest(n, y).place;
  const auto one_hot = [&](int32_t i) {
    // All ones where i == label: the difference is 0 only there.
    const int32_t same = ((i ^ label) - 1) >> 31;
    return from_bits(same & bits_of(1.0F));
  };
  return {mean_square(n, gradient, [&](int32_t i) { return y[i] - one_hot(i); }), static_cast<uint8_t>(predicted)};
}

}  // namespace ftte::float32
