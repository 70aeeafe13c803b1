// Comparisons of floats by their bits, so that a step executes the same instructions whatever the values.
#pragma once

#include <cstdint>
#include <cstring>

namespace ftte::float32 {

static_assert(sizeof(float) == 4, "IEEE 754 binary32");

inline int32_t bits_of(float value) {
  int32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  return bits;
}

inline float from_bits(int32_t bits) {
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

// max(value, 0).
inline float relu(float value) {
  const int32_t bits = bits_of(value);
  return from_bits(bits & ~(bits >> 31));
}

// value where the ReLU's output is positive, else 0.
inline float relu_gradient(float value, float output) { return from_bits(bits_of(value) & (-bits_of(output) >> 31)); }

// Unsigned key in the order of the floats (-0 before +0).
inline uint32_t order_of(float value) {
  const int32_t bits = bits_of(value);
  return static_cast<uint32_t>(bits ^ ((bits >> 31) & INT32_MAX)) ^ 0x80000000U;
}

// All ones when a < b, else 0: the borrow of a - b (Warren, Hacker's Delight, 2-13).
constexpr uint32_t below(uint32_t a, uint32_t b) { return 0U - (((~a & b) | (~(a ^ b) & (a - b))) >> 31); }

}  // namespace ftte::float32
