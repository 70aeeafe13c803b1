// What a stored output may be: an activation is nothing but bounds of the clip with which a layer stores its output.
#pragma once

#include <cstdint>

namespace ftte::int8 {

// {-128, 127} linear, {0, 127} ReLU, {0, six} ReLU6 with six = 6 * 2^exponent.
struct Range {
  int8_t low, high;
};

}  // namespace ftte::int8
