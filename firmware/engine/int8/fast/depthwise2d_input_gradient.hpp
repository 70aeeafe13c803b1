// depthwise2d_input_gradient (engine/int8/depthwise2d_input_gradient.hpp: shapes, numbers) for one layer of a program,
// whose shape and tables are constants: the same bits in fewer instructions.
//
// On Cortex-M, where the channels of each part are a multiple of four: position by position the taps that reach it are
// listed once, as pointers to a row of gy and a row of weights; then four channels at a time walk the list. With the
// DSP extension that takes a word of each: SXTB16 makes pairs of channels of it, SMLABB and SMLATT multiply them, 11
// instructions for four products. The host as the general kernel.
#pragma once

#include "engine/int8/depthwise2d_input_gradient.hpp"
#include "engine/int8/fast/gradient_store.hpp"

namespace ftte::int8::fast {

#ifdef FTTE_BLOCKS

constexpr bool is_fast_depthwise(const Conv2dShape& s, int32_t trained_in) {
  return s.in_c % 4 == 0 && trained_in % 4 == 0;
}

// A tap that reaches a position: the rows of channels to multiply.
struct Tap {
  const int8_t *gy, *w;
};

// Bytes of scratch for the taps of a position and the sums of 32 channels.
constexpr int32_t depthwise_scratch(int32_t taps) {
  return taps * static_cast<int32_t>(sizeof(Tap)) + Store::kMost * static_cast<int32_t>(sizeof(int32_t));
}

// Returns by how much the sums were shifted.
int32_t depthwise_input_gradient(Sgd& sgd, const Conv2dShape& shape, const int8_t* gy, const Weights<int8_t>& weights,
                                 const int8_t* lift, const uint8_t* gate, uint32_t* peak, void* scratch, int8_t* gx);

#endif

// Layer: kShape, kLift, kExponent. kTrainedIn: weights.trained_in. scratch: kScratchBytes, 4-byte aligned, as many as
// bench/compiler/differentiate.py gives; not read or written by the general kernel. Never inlined:
// a program's calls are counted one by one (bench/compiler/marks.py). On an M4: about 3 instructions a product of a tap
// inside, 26 an element of gx.
template <class Layer, int32_t kTrainedIn, int32_t kScratchBytes>
[[gnu::noinline]] int32_t depthwise2d_input_gradient(Sgd& sgd, const int8_t* gy, int32_t gy_exponent,
                                                     const Weights<int8_t>& weights, const uint8_t* gate,
                                                     uint32_t* peak, [[maybe_unused]] void* scratch, int8_t* gx) {
  constexpr const Conv2dShape& kShape = Layer::kShape;
#ifdef FTTE_BLOCKS
  if constexpr (is_fast_depthwise(kShape, kTrainedIn)) {
    static_assert(kScratchBytes >= depthwise_scratch(kShape.taps()));
    return gy_exponent + Layer::kExponent -
           depthwise_input_gradient(sgd, kShape, gy, weights, Layer::kLift, gate, peak, scratch, gx);
  }
#endif
  return int8::depthwise2d_input_gradient(sgd, kShape, gy, gy_exponent, weights, Layer::kLift, Layer::kExponent, gate,
                                          peak, gx);
}

}  // namespace ftte::int8::fast
