// Mean squared error and its gradient, in integers.
//
//   loss = mean of (y - t)^2,  gradient = 2 (y - t) / n
//
// y and the difference are taken in Q16 and clipped to +-128. The loss sums squares of it in Q12, clipped to +-8. 2 / n
// is not a power of two: the gradient is multiplied by it with 15 bits before it is stored with seven.
#pragma once

#include <cstdint>

#include "engine/int8/loss_result.hpp"

namespace ftte::int8 {

// y int32 [n], |y| < 2^30, with exponent 0 .. 30; n <= 1024; target int8 [n] with exponent 0 .. 16. Writes gradient
// int8 [n], scaled so that the largest uses all seven bits, or null: none. predicted is 0.
LossResult mean_squared_error(int32_t n, const int32_t* y, int32_t exponent, const int8_t* target,
                              int32_t target_exponent, int8_t* gradient);

// The target is 1 at `label`, 0 elsewhere; predicted = argmax; n <= 256.
LossResult mean_squared_error_label(int32_t n, const int32_t* y, int32_t exponent, uint8_t label, int8_t* gradient);

}  // namespace ftte::int8
