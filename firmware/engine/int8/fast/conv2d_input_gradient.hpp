// conv2d_input_gradient (engine/int8/conv2d_input_gradient.hpp: shapes, numbers, cost of the general case) for one
// layer of a program, whose shape and tables are constants: the same bits in fewer instructions.
//
// Where channels come in even numbers, as blocked_input_gradient.hpp; otherwise, and on the host, as the general
// kernel.
#pragma once

#include "engine/int8/conv2d_input_gradient.hpp"
#include "engine/int8/fast/blocked_input_gradient.hpp"
#include "engine/int8/fast/dense_input_gradient.hpp"

namespace ftte::int8::fast {

// Layer: kShape, kLift, kExponent. kTrainedIn: weights.trained_in. scratch: kScratchBytes, 4-byte aligned, as many as
// bench/compiler/differentiate.py gives; not read or written by the general kernel.
// Never inlined: a program's calls are counted one by one (bench/compiler/marks.py).
// On an M4: about 1.05 instructions a product (with kernels larger than 1x1, a tap outside counts as a product where
// it is inside for a neighbour), 20 an element of gx, and 4 an element of gy: of 1x1 kernels once; of others once for
// each tap and each 32 input channels.
template <class Layer, int32_t kTrainedIn, int32_t kScratchBytes>
[[gnu::noinline]] int32_t conv2d_input_gradient(Sgd& sgd, const int8_t* gy, int32_t gy_exponent,
                                                const Weights<int8_t>& weights, const uint8_t* gate, uint32_t* peak,
                                                [[maybe_unused]] void* scratch, int8_t* gx) {
  constexpr Conv2dShape kShape = Layer::kShape;
#ifdef FTTE_BLOCKS
  if constexpr (is_fast_blocked(kShape, kTrainedIn)) {
    static_assert(kScratchBytes >= blocked_scratch(kShape));
    constexpr int32_t kTaps = kShape.taps();
    static constexpr Blocked kLayer{kShape,
                                    part<kTrainedIn, kTaps, kShape.out_c>(),
                                    part<kShape.in_c - kTrainedIn, kTaps, kShape.out_c>(),
                                    jump_over(kShape.in_c),
                                    jump_over(kShape.stride_w * kShape.in_c),
                                    jump_over(kShape.in_w * kShape.in_c),
                                    Layer::kLift};
    return gy_exponent + Layer::kExponent - blocked_input_gradient(sgd, kLayer, gy, weights, gate, peak, scratch, gx);
  }
#endif
#ifdef FTTE_DSP
  if constexpr (is_fast_dense(kShape, kTrainedIn)) {
    static_assert(kScratchBytes >= dense_scratch(kShape));
    static constexpr Dense kLayer{kShape.in_size(), kShape.out_c, multiply_dense<kShape.in_size()>, Layer::kLift};
    const int8_t* const w = kTrainedIn > 0 ? weights.trained : weights.frozen;
    return gy_exponent + Layer::kExponent - dense_input_gradient(sgd, kLayer, gy, w, gate, peak, scratch, gx);
  }
#endif
  return int8::conv2d_input_gradient(sgd, kShape, gy, gy_exponent, weights, Layer::kLift, Layer::kExponent, gate, peak,
                                     gx);
}

}  // namespace ftte::int8::fast
