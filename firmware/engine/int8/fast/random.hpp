// Random, out of order: its generator jumps over n numbers with one multiply-add (Brown, "Random number generation with
// arbitrary strides", 1994).
#pragma once

#include <cstring>

#include "engine/int8/fixed.hpp"

namespace ftte::int8::fast {

// Random's state n numbers on: factor * state + term.
struct Jump {
  uint32_t factor, term;
  constexpr uint32_t operator()(uint32_t state) const { return factor * state + term; }
};

constexpr Jump jump_over(int32_t numbers) {
  constexpr Jump kOne{1664525U, 1013904223U};  // Random's constants
  Jump result{1, 0};
  for (int32_t i = 0; i < numbers; ++i) result = {result.factor * kOne.factor, kOne(result.term)};
  return result;
}

static_assert(sizeof(Random) == sizeof(uint32_t), "a generator is its state");

inline uint32_t state_of(const Random& random) {
  uint32_t state;
  std::memcpy(&state, &random, sizeof state);
  return state;
}

inline Random random_of(uint32_t state) {
  Random random(0, 0);
  std::memcpy(static_cast<void*>(&random), &state, sizeof state);
  return random;
}

}  // namespace ftte::int8::fast
