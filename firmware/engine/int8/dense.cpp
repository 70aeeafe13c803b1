#include "engine/int8/dense.hpp"

#include "engine/int8/dot.hpp"

namespace ftte::int8 {
namespace {

// Calls sink(output, sum) for every output in order.
template <typename Sink>
[[gnu::always_inline]] inline void for_each_sum(const DenseShape& s, const int8_t* x, const int8_t* weights,
                                                const int32_t* bias, const Sink& sink) {
  const int32_t in = s.in;
  const int32_t out = s.out;
  in_blocks(out, [=](auto width, int32_t o) {
    int32_t sum[width];
    unrolled<width>([&](int32_t j) { sum[j] = round_shift(bias[o + j], kBiasBits); });
    multiply_accumulate<width>(x, 1, weights + o, out, 1, in, sum);
    unrolled<width>([&](int32_t j) { sink(o + j, sum[j]); });
  });
}

}  // namespace

void dense(const DenseShape& shape, const int8_t* x, const int8_t* weights, const int32_t* bias, int32_t shift,
           Activation activation, int8_t* y) {
  const auto low = static_cast<int32_t>(activation);
  for_each_sum(shape, x, weights, bias,
               [=](int32_t o, int32_t sum) { y[o] = static_cast<int8_t>(clamp(round_shift(sum, shift), low, 127)); });
}

void dense_logits(const DenseShape& shape, const int8_t* x, const int8_t* weights, const int32_t* bias,
                  int32_t* logits) {
  for_each_sum(shape, x, weights, bias, [=](int32_t o, int32_t sum) { logits[o] = sum; });
}

}  // namespace ftte::int8
