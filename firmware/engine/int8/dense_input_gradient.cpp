#include "engine/int8/dense_input_gradient.hpp"

#include "engine/int8/dot.hpp"
#include "engine/int8/relu.hpp"

namespace ftte::int8 {
namespace {

// Calls sink(input, sum) for every input in order.
template <typename Sink>
void for_each_sum(const DenseShape& s, const int8_t* gy, const int8_t* weights, Sink& sink) {
  int32_t i = 0;
  for (; i + kBlock <= s.in; i += kBlock) {
    int32_t sum[kBlock] = {};
    multiply_accumulate<kBlock>(gy, 1, weights + i * s.out, 1, s.out, s.out, sum);
    for (int32_t j = 0; j < kBlock; ++j) sink(i + j, sum[j]);
  }
  for (; i < s.in; ++i) {
    int32_t sum[1] = {};
    multiply_accumulate<1>(gy, 1, weights + i * s.out, 1, s.out, s.out, sum);
    sink(i, sum[0]);
  }
}

}  // namespace

int32_t dense_input_gradient(const DenseShape& shape, const int8_t* gy, int32_t gy_exponent, const int8_t* weights,
                             int32_t weights_exponent, const int8_t* x, int8_t* gx) {
  Largest largest(x);
  for_each_sum(shape, gy, weights, largest);
  Store store(x, gradient_shift(largest.value()), gx);
  for_each_sum(shape, gy, weights, store);
  return gy_exponent + weights_exponent - store.shift();
}

}  // namespace ftte::int8
