// Two-dimensional convolution with bias and an optional ReLU, int8.
//
// Layout as in shapes.hpp; bias int32 [out_c] with exponent (x + weights) + kBiasBits.
//
//   y[oy][ox][o] = clamp(round((sum of x[oy * stride + ky - pad][ox * stride + kx - pad][i] * w[ky][kx][i][o]
//                               + round(bias[o] * 2^-kBiasBits)) * 2^-shift))
//
// With w out-channel fastest, the weights of neighbouring output channels lie side by side for the forward pass and for
// the update, and a weight's row over output channels lies side by side for the input gradient.
#pragma once

#include <cstdint>

#include "engine/int8/update.hpp"
#include "engine/shapes.hpp"

namespace ftte::int8 {

// What an activation function leaves of a value as it is stored: a ReLU is nothing but a lower bound of zero.
enum class Activation : int8_t { kLinear = -128, kRelu = 0 };

// shift = exponent of x + exponent of weights - exponent of y, 0 .. 30. Rounds halves up, clips to [-128, 127] (ReLU:
// [0, 127]). y overlaps nothing.
// patch int8 [patch_size] is scratch: the window's content, gathered once for all output channels.
// Cost: out_size * patch_size products, also where the window leaves x.
void conv2d(const Conv2dShape& shape, const int8_t* x, const int8_t* weights, const int32_t* bias, int32_t shift,
            Activation activation, int8_t* patch, int8_t* y);

}  // namespace ftte::int8
