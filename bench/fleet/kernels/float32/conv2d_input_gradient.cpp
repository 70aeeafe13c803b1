#include "engine/float32/conv2d_input_gradient.hpp"

#include "gates.hpp"
#include "input_gradient.hpp"

namespace ftte::float32 {

void conv2d_input_gradient(const Conv2dShape& shape, const float* gy, const Weights<float>& weights,
                           const uint8_t* gate, float* gx) {
  host::input_gradient(shape, gy, weights, gx);
  host::apply_gate(shape.in_size(), gate, gx);
}

}  // namespace ftte::float32
