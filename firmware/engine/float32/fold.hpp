// The end of a batch whose gradients were accumulated, float32.
#pragma once

#include <cstdint>

namespace ftte::float32 {

// values [n] -= learning_rate * accumulated; accumulated [n] = 0. For weights and for biases.
void fold(float learning_rate, int32_t n, float* values, float* accumulated);

}  // namespace ftte::float32
