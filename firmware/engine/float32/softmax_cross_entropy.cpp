#include "engine/float32/softmax_cross_entropy.hpp"

#include "engine/float32/bits.hpp"

namespace ftte::float32 {

float exponential(float x) {
  constexpr float kLowest = -87.0F;
  // max(x, lowest) as lowest + relu(x - lowest) would round; the order of the bits does not.
  const auto low = static_cast<int32_t>(below(order_of(x), order_of(kLowest)));
  x = from_bits(bits_of(x) ^ ((bits_of(x) ^ bits_of(kLowest)) & low));
  // exp(x) = 2^n exp(r), |r| <= ln(2) / 2. ln(2) in two parts (Cody and Waite), so that n ln(2) is exact in the first.
  const auto n = static_cast<int32_t>(x * 1.44269504F - 0.5F);
  const auto whole = static_cast<float>(n);
  const float r = (x - whole * 0.693359375F) + whole * 2.12194440e-4F;
  // Taylor to r^7 / 7!: the next term is below 6e-9.
  float sum = 1.0F / 5040.0F;
  sum = sum * r + 1.0F / 720.0F;
  sum = sum * r + 1.0F / 120.0F;
  sum = sum * r + 1.0F / 24.0F;
  sum = sum * r + 1.0F / 6.0F;
  sum = sum * r + 0.5F;
  sum = sum * r + 1.0F;
  sum = sum * r + 1.0F;
  return from_bits(bits_of(sum) + n * (1 << 23));
}

float logarithm(float x) {
  // x = 2^n m with m in [0.7071, 1.4142); ln(m) = 2 atanh(s), s = (m - 1) / (m + 1), |s| <= 0.1716.
  constexpr int32_t kRootHalf = 0x3F3504F3;
  const int32_t offset = bits_of(x) - kRootHalf;
  const int32_t n = offset >> 23;
  const float m = from_bits(bits_of(x) - n * (1 << 23));
  const float s = (m - 1.0F) / (m + 1.0F);
  const float s2 = s * s;
  const float series = 1.0F + s2 * (1.0F / 3.0F + s2 * (1.0F / 5.0F + s2 * (1.0F / 7.0F + s2 * (1.0F / 9.0F))));
  return static_cast<float>(n) * 0.693147181F + 2.0F * s * series;
}

LossResult softmax_cross_entropy(int32_t classes, const float* logits, uint8_t label, float* gradient) {
  const Champion champion = greatest(classes, logits);
  const float top = champion.value();
  const float of_label = top - logits[label];
  float sum = 0.0F;
  for (int32_t i = 0; i < classes; ++i) {
    gradient[i] = exponential(logits[i] - top);
    sum += gradient[i];
  }
  const float scale = 1.0F / sum;
  for (int32_t i = 0; i < classes; ++i) gradient[i] *= scale;
  gradient[label] -= 1.0F;
  return {logarithm(sum) + of_label, static_cast<uint8_t>(champion.place)};
}

}  // namespace ftte::float32
