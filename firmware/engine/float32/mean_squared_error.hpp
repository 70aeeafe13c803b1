// Mean squared error and its gradient, float32. Conventions as in conv2d.hpp.
#pragma once

#include <cstdint>

#include "engine/float32/loss_result.hpp"

namespace ftte::float32 {

// loss = sum of (y - target)^2 / n, in order; gradient [n] = 2 (y - target) / n; predicted = 0. y, target [n]; the
// gradient may be y itself or the target.
LossResult mean_squared_error(int32_t n, const float* y, const float* target, float* gradient);

// The same against the one-hot vector of a label, and predicted = argmax of y. 1 <= n <= 256, label < n.
LossResult mean_squared_error_label(int32_t n, const float* y, uint8_t label, float* gradient);

}  // namespace ftte::float32
