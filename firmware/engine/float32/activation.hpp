// Activation functions, fused into the store of a layer's output.
#pragma once

#include <cstdint>

#include "engine/float32/bits.hpp"

namespace ftte::float32 {

enum class Activation : uint8_t { kLinear, kRelu };

inline float activate(float value, Activation activation) {
  return activation == Activation::kRelu ? relu(value) : value;
}

}  // namespace ftte::float32
