// What every loss returns.
#pragma once

#include <cstdint>

namespace ftte::int8 {

struct LossResult {
  uint32_t loss_q16;          // unsigned Q16.16, saturating: nats, or the mean squared error
  int32_t gradient_exponent;  // of the gradient written
  uint8_t predicted;          // argmax of the logits, the first of equals
};

}  // namespace ftte::int8
