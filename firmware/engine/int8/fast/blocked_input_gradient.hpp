// The input gradient of a convolution on Cortex-M; conv2d_input_gradient.hpp is its contract.
//
// Four positions of gx make a block, and 32 of their channels have their sums in scratch at a time. For each tap that
// reaches any of the four, their gradients are lifted into int16 pairs, zeros where the tap does not reach, and the
// inner loop (lifted_products.hpp) adds the products; the weights' two parts are walked one after the other. So a
// block's positions must meet the same taps: they lie stride_w apart. A 1x1 kernel that reads every position has one
// tap, lifted once for all channels, and its blocks need not end with a row.
#pragma once

#include "engine/int8/fast/gradient_store.hpp"
#include "engine/int8/fast/lifted_products.hpp"
#include "engine/shapes.hpp"

namespace ftte::int8::fast {

#ifdef FTTE_BLOCKS

constexpr bool is_pointwise(const Conv2dShape& s) {
  return s.taps() == 1 && s.reads_directly() && s.stride_h == 1 && s.stride_w == 1;
}

// Bytes of scratch for the sums of 32 channels, the lifted gradients of four positions and a row of zeros, which a
// pointwise layer does not need.
constexpr int32_t blocked_scratch(const Conv2dShape& s) {
  return kPositions * (4 * (s.in_c < 32 ? s.in_c : 32) + 2 * s.out_c) + (is_pointwise(s) ? 0 : s.out_c);
}

// A part of the input channels, whose weights lie together, [outputs][taps][channels].
struct Part {
  int32_t channels;
  void (*multiply)(LiftedProducts);  // for rows taps * channels apart
};

struct Blocked {
  Conv2dShape shape;
  Part trained, frozen;
  Jump position, stride, row;  // over the random numbers of one position, of stride_w, of in_w
  const int8_t* lift;
};

template <int32_t kChannels, int32_t kTaps, int32_t kOutputs>
constexpr Part part() {
  if constexpr (kChannels == 0) {
    return {0, nullptr};
  } else {
    constexpr int32_t kRow = kChannels * kTaps;
    return {kChannels, multiply_lifted<kRow, pairs_a_turn(kRow, kOutputs)>};
  }
}

// Even numbers of outputs and of each part's channels; what offsets of 12 bits reach. Where a row of y reaches over
// less than two thirds of a row of gx, too much of the blocks would be idle.
constexpr bool is_fast_blocked(const Conv2dShape& s, int32_t trained_in) {
  return s.groups == 1 && s.positions() > 1 && (is_pointwise(s) || 3 * s.out_w * s.stride_w >= 2 * s.in_w) &&
         s.out_c % 2 == 0 && trained_in % 2 == 0 && s.in_c % 2 == 0 && s.taps() * s.in_c < 4095;
}

// Returns by how much the sums were shifted.
int32_t blocked_input_gradient(Sgd& sgd, const Blocked& layer, const int8_t* gy, const Weights<int8_t>& weights,
                               const uint8_t* gate, uint32_t* peak, void* scratch, int8_t* gx);

#endif

}  // namespace ftte::int8::fast
