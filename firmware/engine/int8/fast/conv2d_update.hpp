// conv2d_update (engine/int8/conv2d_update.hpp: shapes, numbers, the rules) for one layer of a program, whose shape and
// tables are constants: the same bits in fewer instructions.
//
// On Cortex-M the weight gradient is the inner loop of lifted_products.hpp with other names: summed are not
// outputs but positions, the rows of bytes are those of gy, and what is paired and widened once are four columns of the
// matrix that a convolution multiplies its weights with (im2col: column tap * trained_in + i holds, for each output
// position, the input under that tap, 0 outside). So four columns at a time, 64 positions at a time, are written
// into scratch, and serve all output channels; then four neighbouring weights of each are updated. An odd number of
// positions begins with one that is paired with zeros.
//
// Where a kernel covers its whole input, each weight has one product, and with the DSP extension Compensated
// steps take whole rows (compensated_steps.hpp). Otherwise, and on the host: the general kernel.
#pragma once

#include <type_traits>

#include "engine/int8/conv2d_update.hpp"
#include "engine/int8/fast/gradient_store.hpp"
#include "engine/int8/fast/lifted_products.hpp"

namespace ftte::int8::fast {

#ifdef FTTE_BLOCKS

struct ColumnProducts {
  Conv2dShape shape;
  int32_t trained_in, x_channels;
  void (*multiply_first)(LiftedProducts);  // of two positions
  void (*multiply)(LiftedProducts);        // of an even number
  Jump row;                                // over the random numbers of an output channel's weights
};

constexpr int32_t kPositionsAtOnce = 64;

// Bytes of scratch for four columns and the sums of 32 output channels.
constexpr int32_t update_scratch(const Conv2dShape& s) {
  const int32_t positions = s.positions() < kPositionsAtOnce ? s.positions() : kPositionsAtOnce;
  return 4 * (4 * (s.out_c < 32 ? s.out_c : 32) + 2 * positions);
}

// Outputs that the columns serve; fewer do not repay what widening them takes.
#ifdef __thumb2__
constexpr int32_t kFewestOutputs = 4;
#else
constexpr int32_t kFewestOutputs = 32;
#endif

// Even numbers of outputs, what offsets of 12 bits reach, and columns for a block.
constexpr bool is_fast_update(const Conv2dShape& s, int32_t trained_in) {
  return s.groups == 1 && s.positions() > 2 && s.taps() * trained_in >= 4 && s.out_c % 2 == 0 &&
         s.out_c >= kFewestOutputs && s.out_c < 4095;
}

// A kernel that covers its whole input; trained_in a multiple of four.
constexpr bool is_dense(const Conv2dShape& s) {
  return s.groups == 1 && s.positions() == 1 && s.pad_top == 0 && s.pad_left == 0 && s.kernel_h == s.in_h &&
         s.kernel_w == s.in_w;
}

template <class Rule>
void update_by_columns(Sgd& sgd, uint32_t stream, const ColumnProducts& layer, const int8_t* gy, const int8_t* x,
                       int32_t gradient_exponent, const TrainedWeights<Rule>& weights, void* scratch);

#ifdef FTTE_DSP

void update_dense(Sgd& sgd, uint32_t stream, const ColumnProducts& layer, const int8_t* gy, const int8_t* x,
                  int32_t gradient_exponent, const TrainedWeights<Compensated>& weights);

#endif
#endif

// Layer: kShape, kLift. kXChannels: of x. weights.lift and .exponent are the layer's. scratch: kScratchBytes,
// 4-byte aligned, as many as bench/compiler/differentiate.py gives; not read or written by the general kernel. Never
// inlined: a program's calls are counted one by one (bench/compiler/marks.py).
// On an M4, Compensated: about 1.05 instructions a product, and 27 a weight; fully connected, 17 a weight.
template <class Rule, class Layer, int32_t kTrainedIn, int32_t kXChannels, int32_t kScratchBytes>
[[gnu::noinline]] void conv2d_update(Sgd& sgd, uint32_t stream, const int8_t* gy, int32_t gy_exponent, const int8_t* x,
                                     int32_t x_exponent, const TrainedWeights<Rule>& weights,
                                     [[maybe_unused]] void* scratch) {
  constexpr Conv2dShape kShape = Layer::kShape;
#ifdef FTTE_BLOCKS
  if constexpr (is_fast_update(kShape, kTrainedIn)) {
    static_assert(kScratchBytes >= update_scratch(kShape));
    constexpr int32_t kRow = kShape.out_c;
    static constexpr ColumnProducts kProducts{kShape,
                                              kTrainedIn,
                                              kXChannels,
                                              multiply_lifted<kRow, 1>,
                                              multiply_lifted<kRow, pairs_a_turn(kRow, kShape.positions() & ~1)>,
                                              jump_over(kShape.taps() * kTrainedIn)};
    update_by_columns<Rule>(sgd, stream, kProducts, gy, x, gy_exponent + x_exponent, weights, scratch);
    return;
  }
#endif
#ifdef FTTE_DSP
  if constexpr (is_dense(kShape) && kTrainedIn % 4 == 0 && std::is_same_v<Rule, Compensated>) {
    static constexpr ColumnProducts kProducts{kShape, kTrainedIn, kXChannels, nullptr, nullptr, {}};
    update_dense(sgd, stream, kProducts, gy, x, gy_exponent + x_exponent, weights);
    return;
  }
#endif
  int8::conv2d_update<Rule>(sgd, stream, kShape, gy, gy_exponent, x, x_exponent, kXChannels, weights);
}

}  // namespace ftte::int8::fast
