#include "engine/float32/conv2d_update.hpp"

#include "dense.hpp"
#include "weight_gradient.hpp"

namespace ftte::float32 {
namespace {

// Each weight has one product where the kernel covers the whole input.
template <class Rule>
void dense_update(float learning_rate, const Conv2dShape& s, const float* gy, const float* x, int32_t x_channels,
                  float* __restrict trained, int32_t trained_in) {
  // One loop over neighbours is one that the compiler vectorises well.
  const bool whole = trained_in == x_channels;
  const int32_t runs = whole ? 1 : s.taps();
  const int32_t length = whole ? s.taps() * trained_in : trained_in;
  for (int32_t o = 0; o < s.out_c; ++o) {
    const float slope = gy[o];
    for (int32_t run = 0; run < runs; ++run, trained += length) {
      const float* __restrict in = x + run * x_channels;
      for (int32_t i = 0; i < length; ++i) Rule::apply(learning_rate, slope * in[i], trained[i]);
    }
  }
}

}  // namespace

template <class Rule>
void conv2d_update(float learning_rate, const Conv2dShape& shape, const float* gy, const float* x, int32_t x_channels,
                   float* trained, int32_t trained_in) {
  if (host::covers_input(shape)) {
    dense_update<Rule>(learning_rate, shape, gy, x, x_channels, trained, trained_in);
    return;
  }
  host::weight_gradient(shape, gy, x, x_channels, trained_in,
                        [&](int32_t index, float sum) { Rule::apply(learning_rate, sum, trained[index]); });
}

template void conv2d_update<Immediate>(float, const Conv2dShape&, const float*, const float*, int32_t, float*, int32_t);
template void conv2d_update<Accumulated>(float, const Conv2dShape&, const float*, const float*, int32_t, float*,
                                         int32_t);

}  // namespace ftte::float32
