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

// Unsigned key in the order of the floats (-0 before +0).
inline uint32_t order_of(float value) {
  const int32_t bits = bits_of(value);
  return static_cast<uint32_t>(bits ^ ((bits >> 31) & INT32_MAX)) ^ 0x80000000U;
}

// The float of which order_of is `order`.
inline float value_of(uint32_t order) {
  const auto bits = static_cast<int32_t>(order ^ 0x80000000U);
  return from_bits(bits ^ ((bits >> 31) & INT32_MAX));
}

// All ones when a < b, else 0: the borrow of a - b (Warren, Hacker's Delight, 2-13).
constexpr uint32_t below(uint32_t a, uint32_t b) { return 0U - (((~a & b) | (~(a ^ b) & (a - b))) >> 31); }

// The greatest of the values that challenge it, and the place of the first such.
struct Champion {
  uint32_t order;
  uint32_t place;

  float value() const { return value_of(order); }
};

inline Champion first_champion(float value, uint32_t place) { return {order_of(value), place}; }

// The challenger takes the place if it is greater, without a branch.
inline void challenge(float challenger, uint32_t place, Champion& champion) {
  const uint32_t order = order_of(challenger);
  const uint32_t beaten = below(champion.order, order);
  champion.order ^= (champion.order ^ order) & beaten;
  champion.place ^= (champion.place ^ place) & beaten;
}

// The greatest of count >= 1 values.
inline Champion greatest(int32_t count, const float* values) {
  Champion champion = first_champion(values[0], 0);
  for (int32_t i = 1; i < count; ++i) challenge(values[i], static_cast<uint32_t>(i), champion);
  return champion;
}

}  // namespace ftte::float32
