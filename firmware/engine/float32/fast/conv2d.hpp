// conv2d (engine/float32/conv2d.hpp) in blocks of four positions and four channels, for cores with an FPU: the same
// bits. What lies under the windows of four positions is packed, kDepth values of each at a time, and shared by all
// channels; sums wait in y meanwhile.
//
// A fully connected layer has one position: four channels take products with the input as it lies. Grouped
// convolutions, fewer than eight channels, and other cores: the general kernel.
#pragma once

#include "engine/float32/conv2d.hpp"

namespace ftte::float32::fast {

constexpr int32_t kDepth = 64;

// Bytes of scratch beside those of the general kernel: four positions' values. As bench/compiler/differentiate.py says.
constexpr int32_t kPackedBytes = 4 * 4 * kDepth;

// scratch: as many bytes as the general kernel wants, and at least kPackedBytes.
// On an M4, 64 input channels: about 1.3 instructions a product; fully connected, 1.4.
void conv2d(const Conv2dShape& shape, const float* x, const Weights<float>& weights, const float* bias, Range range,
            float* scratch, float* y);

}  // namespace ftte::float32::fast
