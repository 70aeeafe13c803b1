// What all backward kernels of one training step share.
#pragma once

#include <cstdint>

namespace ftte::int8 {

struct Sgd {
  uint32_t learning_rate_q16;  // unsigned Q16.16
  uint32_t seed;               // of the stochastic rounding; a new one each step
  uint32_t saturated;          // out: gradients and parameters clipped, summed over the step
};

}  // namespace ftte::int8
