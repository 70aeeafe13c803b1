#include "engine/int8/conv2d_input_gradient.hpp"

#include "engine/int8/gradient_sums.hpp"
#include "input_gradient.hpp"

namespace ftte::int8 {

int32_t conv2d_input_gradient(Sgd& sgd, const Conv2dShape& shape, const int8_t* gy, int32_t gy_exponent,
                              const Weights<int8_t>& weights, const int8_t* lift, int32_t weights_exponent,
                              const uint8_t* gate, uint32_t* peak, int8_t* gx) {
  thread_local host::Scratch sums_scratch;
  thread_local host::Scratch slopes_scratch;
  int32_t* const sums = sums_scratch.of<int32_t>(shape.in_size());
  int32_t* const slopes = slopes_scratch.of<int32_t>(shape.out_size());
  for (int32_t p = 0; p < shape.out_size(); p += shape.out_c) {
    for (int32_t o = 0; o < shape.out_c; ++o) slopes[p + o] = lifted(gy[p + o], lift[o]);
  }
  host::input_gradient(shape, slopes, weights, sums);
  GradientStore store(sgd, gate, *peak, gx);
  store.put(sums, shape.in_size());
  return gy_exponent + weights_exponent - store.finish(sgd, peak);
}

}  // namespace ftte::int8
