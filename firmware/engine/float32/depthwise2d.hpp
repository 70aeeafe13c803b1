// Depthwise convolution (one input and one output channel a group) with bias and activation, float32. Conventions as in
// conv2d.hpp.
#pragma once

#include <cstdint>

#include "engine/float32/range.hpp"
#include "engine/shapes.hpp"

namespace ftte::float32 {

// y = clamp(x * weights + bias), channel by channel; groups == in_c == out_c. Weights [kernel_h][kernel_w][c], in two
// parts [kernel_h][kernel_w][trained_in] and [kernel_h][kernel_w][c - trained_in]; bias [c].
//
// Window by window, four channels at a time: a sum begins with the bias; then follow the taps inside x, row by row.
// Cost: out_size * taps products, fewer where the window leaves x.
void depthwise2d(const Conv2dShape& shape, const float* x, const Weights<float>& weights, const float* bias,
                 Range range, float* y);

}  // namespace ftte::float32
