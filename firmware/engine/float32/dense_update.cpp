#include "engine/float32/dense.hpp"

namespace ftte::float32 {

void dense_update(const DenseShape& shape, float learning_rate, const float* gy, const float* x, float* weights,
                  float* bias) {
  for (int32_t i = 0; i < shape.in; ++i) {
    const float scaled = learning_rate * x[i];
    for (int32_t o = 0; o < shape.out; ++o) *weights++ -= scaled * gy[o];
  }
  for (int32_t o = 0; o < shape.out; ++o) bias[o] -= learning_rate * gy[o];
}

}  // namespace ftte::float32
