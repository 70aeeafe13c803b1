#include "engine/float32/fold.hpp"

namespace ftte::float32 {

void fold(float learning_rate, int32_t n, float* values, float* accumulated) {
  for (int32_t i = 0; i < n; ++i) {
    values[i] -= learning_rate * accumulated[i];
    accumulated[i] = 0.0F;
  }
}

}  // namespace ftte::float32
