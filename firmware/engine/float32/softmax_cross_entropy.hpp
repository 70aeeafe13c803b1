// Softmax, cross-entropy and their gradient, float32. exp and log are computed here: the C library's take double
// arithmetic, which an M4F does in software, and their path depends on the value.
#pragma once

#include <cstdint>

#include "engine/float32/loss_result.hpp"

namespace ftte::float32 {

// exp(x) for -87 <= x <= 0, x below taken as -87; relative error below 2e-7.
float exponential(float x);

// ln(x) for normal x >= 1; absolute error below 2e-7 * (1 + ln x).
float logarithm(float x);

// loss = -ln(softmax(logits)[label]); gradient [classes] = softmax(logits) - onehot(label), which may be the logits
// themselves; predicted = argmax of the logits. 1 <= classes <= 256, label < classes.
// Cost: about 100 instructions a class on an M4F.
LossResult softmax_cross_entropy(int32_t classes, const float* logits, uint8_t label, float* gradient);

}  // namespace ftte::float32
