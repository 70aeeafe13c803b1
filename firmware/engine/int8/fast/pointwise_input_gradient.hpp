// The input gradient of a 1x1 convolution on cores with the DSP extension; conv2d_input_gradient.hpp is its contract.
//
// Blocks of four positions: their gradients are lifted once, into int16 pairs in scratch; then 32 input channels at a
// time get their sums (lifted_products.hpp) and are stored. The weights' two parts are walked one after the other.
#pragma once

#include "engine/int8/fast/gradient_store.hpp"
#include "engine/int8/fast/lifted_products.hpp"
#include "engine/shapes.hpp"

namespace ftte::int8::fast {

#ifdef FTTE_DSP

// Bytes of scratch for the lifted gradients of four positions and the sums of 32 channels.
constexpr int32_t pointwise_scratch(int32_t out_c) { return kPositions * (2 * out_c + 4 * 32); }

// A part of the input channels, whose weights lie together, [outputs][channels].
struct Part {
  int32_t channels;
  void (*multiply)(LiftedProducts);  // for rows `channels` apart
};

struct Pointwise {
  int32_t positions, outputs, inputs;
  Part trained, frozen;
  Jump row;  // over the random numbers of one position
  const int8_t* lift;
};

template <int32_t kChannels, int32_t kOutputs>
constexpr Part part() {
  if constexpr (kChannels == 0) {
    return {0, nullptr};
  } else {
    return {kChannels, multiply_lifted<kChannels, pairs_a_turn(kChannels, kOutputs)>};
  }
}

// Even numbers of outputs and of each part's channels, a multiple of four of all channels; what offsets of 12 bits
// reach.
constexpr bool is_fast_pointwise(const Conv2dShape& s, int32_t trained_in) {
  return s.taps() == 1 && s.reads_directly() && s.stride_h == 1 && s.stride_w == 1 && s.groups == 1 &&
         s.positions() > 1 && s.out_c % 2 == 0 && trained_in % 2 == 0 && s.in_c % 4 == 0 && s.in_c < 4096;
}

// Returns by how much the sums were shifted.
int32_t pointwise_input_gradient(Sgd& sgd, const Pointwise& layer, const int8_t* gy, const Weights<int8_t>& weights,
                                 const uint8_t* gate, uint32_t* peak, void* scratch, int8_t* gx);

#endif

}  // namespace ftte::int8::fast
