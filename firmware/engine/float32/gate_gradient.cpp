#include "engine/float32/gate_gradient.hpp"

#include "engine/float32/gate.hpp"

namespace ftte::float32 {

void gate_gradient(int32_t n, const float* gy, const uint8_t* gate, float* y) {
  for (int32_t i = 0; i < n; ++i) y[i] = gated(gy[i], gate, i);
}

}  // namespace ftte::float32
