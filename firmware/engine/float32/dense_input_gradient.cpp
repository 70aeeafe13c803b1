#include "engine/float32/bits.hpp"
#include "engine/float32/dense.hpp"
#include "engine/float32/dot.hpp"

namespace ftte::float32 {
namespace {

template <int32_t kWidth>
void inputs(const DenseShape& s, const float* gy, const float* weights, const float* x, float* gx) {
  float sum[kWidth] = {};
  multiply_accumulate<kWidth>(gy, 1, weights, 1, s.out, s.out, sum);
  for (int32_t j = 0; j < kWidth; ++j) gx[j] = x != nullptr ? relu_gradient(sum[j], x[j]) : sum[j];
}

}  // namespace

void dense_input_gradient(const DenseShape& shape, const float* gy, const float* weights, const float* x, float* gx) {
  int32_t i = 0;
  for (; i + kBlock <= shape.in; i += kBlock) {
    inputs<kBlock>(shape, gy, weights + i * shape.out, x != nullptr ? x + i : nullptr, gx + i);
  }
  for (; i < shape.in; ++i) inputs<1>(shape, gy, weights + i * shape.out, x != nullptr ? x + i : nullptr, gx + i);
}

}  // namespace ftte::float32
