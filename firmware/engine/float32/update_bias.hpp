// The update of a bias, float32. Conventions as in conv2d.hpp.
#pragma once

#include <cstdint>

#include "engine/float32/update_rule.hpp"

namespace ftte::float32 {

// Applies Rule (Immediate, Accumulated) to `bias` [channels], the bias or the accumulator: the gradient is gy
// [positions][channels] summed over positions, in their order. Cost: positions * channels additions.
template <class Rule>
void update_bias(float learning_rate, const float* gy, int32_t positions, int32_t channels, float* bias);

}  // namespace ftte::float32
