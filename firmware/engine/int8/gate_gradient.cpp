#include "engine/int8/gate_gradient.hpp"

#include "engine/int8/gradient_scale.hpp"

namespace ftte::int8 {

void gate_gradient(int32_t n, const int8_t* gy, const uint8_t* gate, int8_t* y) {
  const Gate open(gate);
  for (int32_t i = 0; i < n; ++i) y[i] = static_cast<int8_t>(gy[i] & open.mask(i));
}

}  // namespace ftte::int8
