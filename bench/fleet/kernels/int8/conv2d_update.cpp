#include "engine/int8/conv2d_update.hpp"

#include "compensate.hpp"
#include "dense.hpp"
#include "weight_gradient.hpp"

namespace ftte::int8 {
namespace {

// What takes a layer's gradients: in vectors, or as the general kernels do.
template <class Rule>
using Update = std::conditional_t<std::is_same_v<Rule, Compensated>, host::CompensatedUpdate, WeightUpdate<Rule>>;

// Each weight has one product: no sums, and no blocks.
template <class Rule>
void update_fully_connected(const Conv2dShape& s, const int8_t* gy, const int8_t* x, int32_t x_channels,
                            int32_t trained_in, Update<Rule>& update) {
  const bool joined = trained_in == x_channels;
  const int32_t runs = joined ? 1 : s.taps();
  const int32_t run = joined ? s.taps() * trained_in : trained_in;
  for (int32_t o = 0; o < s.out_c; ++o) {
    update.begin_channel(o);
    for (int32_t i = 0; i < runs; ++i) update.step(gy[o], x + i * x_channels, run);
  }
}

}  // namespace

template <class Rule>
void conv2d_update(Sgd& sgd, uint32_t stream, const Conv2dShape& shape, const int8_t* gy, int32_t gy_exponent,
                   const int8_t* x, int32_t x_exponent, int32_t x_channels, const TrainedWeights<Rule>& weights) {
  const int32_t trained_in = weights.trained_in;
  Update<Rule> update(sgd, stream, weights, gy_exponent + x_exponent, shape.positions());
  if (host::covers_input(shape)) {
    update_fully_connected<Rule>(shape, gy, x, x_channels, trained_in, update);
  } else {
    thread_local host::Scratch sums_scratch;
    thread_local host::Scratch inputs_scratch;
    const int32_t row = shape.taps() * trained_in;
    int32_t* const sums = sums_scratch.of<int32_t>(shape.out_c * row);
    const int32_t inputs = shape.in_h * shape.in_w * x_channels;
    int32_t* const wide = inputs_scratch.of<int32_t>(inputs);
    host::widen(x, inputs, wide);
    host::weight_gradient(shape, gy, static_cast<const int32_t*>(wide), x_channels, trained_in,
                          [&](int32_t index, int32_t sum) { sums[index] = sum; });
    for (int32_t o = 0; o < shape.out_c; ++o) {
      update.begin_channel(o);
      update.step(sums + o * row, row);
    }
  }
  update.finish(sgd);
}

template void conv2d_update<Compensated>(Sgd&, uint32_t, const Conv2dShape&, const int8_t*, int32_t, const int8_t*,
                                         int32_t, int32_t, const TrainedWeights<Compensated>&);
template void conv2d_update<Compensated4>(Sgd&, uint32_t, const Conv2dShape&, const int8_t*, int32_t, const int8_t*,
                                          int32_t, int32_t, const TrainedWeights<Compensated4>&);
template void conv2d_update<Accumulated>(Sgd&, uint32_t, const Conv2dShape&, const int8_t*, int32_t, const int8_t*,
                                         int32_t, int32_t, const TrainedWeights<Accumulated>&);
template void conv2d_update<Truncated>(Sgd&, uint32_t, const Conv2dShape&, const int8_t*, int32_t, const int8_t*,
                                       int32_t, int32_t, const TrainedWeights<Truncated>&);

}  // namespace ftte::int8
