// What a loss tells about a sample, float32.
#pragma once

#include <cstdint>

namespace ftte::float32 {

struct LossResult {
  float loss;         // cross-entropy in nats, or the mean squared error
  uint8_t predicted;  // argmax of the outputs, the first of equals; 0 where there are no classes
};

}  // namespace ftte::float32
