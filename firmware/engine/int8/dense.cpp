#include "engine/int8/dense.hpp"

#include "engine/int8/dot.hpp"

namespace ftte::int8 {
namespace {

template <int32_t kWidth, typename Sink>
void block(const DenseShape& s, const int8_t* x, const int8_t* weights, const int32_t* bias, int32_t o, Sink& sink) {
  int32_t sum[kWidth];
  for (int32_t j = 0; j < kWidth; ++j) sum[j] = round_shift(bias[o + j], kBiasBits);
  multiply_accumulate<kWidth>(x, 1, weights + o, s.out, 1, s.in, sum);
  for (int32_t j = 0; j < kWidth; ++j) sink(o + j, sum[j]);
}

// Calls sink(output, sum) for every output in order.
template <typename Sink>
void for_each_sum(const DenseShape& s, const int8_t* x, const int8_t* weights, const int32_t* bias, Sink sink) {
  int32_t o = 0;
  for (; o + kBlock <= s.out; o += kBlock) block<kBlock>(s, x, weights, bias, o, sink);
  for (; o < s.out; ++o) block<1>(s, x, weights, bias, o, sink);
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
