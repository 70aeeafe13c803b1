#include "engine/float32/add_gradients.hpp"

#include "engine/float32/gate.hpp"

namespace ftte::float32 {

void add_gradients(int32_t n, const float* a, const float* b, const uint8_t* gate, float* y) {
  for (int32_t i = 0; i < n; ++i) y[i] = gated(a[i] + b[i], gate, i);
}

}  // namespace ftte::float32
