#include "engine/int8/dense_input_gradient.hpp"

#include "engine/int8/dot.hpp"
#include "engine/int8/relu.hpp"

namespace ftte::int8 {
namespace {

// Calls sink(input, sum) for every input in order.
template <typename Sink>
[[gnu::always_inline]] inline void for_each_sum(const DenseShape& s, const int8_t* gy, const int8_t* weights,
                                                Sink& sink) {
  const int32_t out = s.out;
  in_blocks(s.in, [=, &sink](auto width, int32_t i) {
    int32_t sum[width] = {};
    multiply_accumulate<width>(gy, 1, weights + i * out, 1, out, out, sum);
    unrolled<width>([&](int32_t j) { sink(i + j, sum[j]); });
  });
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
