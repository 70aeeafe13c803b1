#include "engine/float32/dense.hpp"

#include "engine/float32/bits.hpp"
#include "engine/float32/dot.hpp"

namespace ftte::float32 {
namespace {

template <int32_t kWidth>
void outputs(const DenseShape& s, const float* x, const float* weights, const float* bias, Activation activation,
             float* y) {
  float sum[kWidth];
  for (int32_t j = 0; j < kWidth; ++j) sum[j] = bias[j];
  multiply_accumulate<kWidth>(x, 1, weights, s.out, 1, s.in, sum);
  for (int32_t j = 0; j < kWidth; ++j) y[j] = activation == Activation::kRelu ? relu(sum[j]) : sum[j];
}

}  // namespace

void dense(const DenseShape& shape, const float* x, const float* weights, const float* bias, Activation activation,
           float* y) {
  int32_t o = 0;
  for (; o + kBlock <= shape.out; o += kBlock) outputs<kBlock>(shape, x, weights + o, bias + o, activation, y + o);
  for (; o < shape.out; ++o) outputs<1>(shape, x, weights + o, bias + o, activation, y + o);
}

}  // namespace ftte::float32
