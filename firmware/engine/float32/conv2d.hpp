// Two-dimensional convolution with bias and activation, float32. A fully connected layer is one whose kernel covers its
// whole input.
//
// Here and in the other kernels of this folder: maps [h][w][c]; weights and their split into trained and frozen input
// channels as shapes.hpp says; what lies outside x is zero. Sums are in float32 in the order that the header gives, so
// that builds without contraction into fused multiply-add (-ffp-contract=off) give the same bits everywhere, and the
// instructions executed depend on shapes alone, never on values. No arguments overlap unless the header says so.
#pragma once

#include <cstdint>

#include "engine/float32/range.hpp"
#include "engine/shapes.hpp"

namespace ftte::float32 {

// y = clamp(x * weights + bias). Weights [out_c][kernel_h][kernel_w][group_in], bias [out_c]; scratch
// [conv2d_scratch(shape)], the window's content, null where that is 0.
//
// Window by window: its content is gathered, zeros outside x, where it does not lie in x in one piece; four output
// channels at a time are products of that with contiguous rows of weights. A sum begins with the bias; then follow the
// trained channels tap by tap, then the frozen ones.
// Cost: out_size * taps * group_in products, also where the window leaves x.
void conv2d(const Conv2dShape& shape, const float* x, const Weights<float>& weights, const float* bias, Range range,
            float* scratch, float* y);

}  // namespace ftte::float32
