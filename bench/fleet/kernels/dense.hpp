// Which convolutions are fully connected layers.
#pragma once

#include "engine/shapes.hpp"

namespace ftte::host {

// One output whose window is the whole input.
inline bool covers_input(const Conv2dShape& s) {
  return s.groups == 1 && s.positions() == 1 && s.kernel_h == s.in_h && s.kernel_w == s.in_w && s.pad_top == 0 &&
         s.pad_left == 0;
}

}  // namespace ftte::host
