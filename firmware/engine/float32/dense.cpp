#include "engine/float32/dense.hpp"

#include "engine/float32/dot.hpp"

namespace ftte::float32 {

void dense(const DenseShape& shape, const float* x, const float* weights, const float* bias, Activation activation,
           float* y) {
  const int32_t in = shape.in;
  const int32_t out = shape.out;
  in_blocks(out, [=](auto width, int32_t o) {
    float sum[width];
    unrolled<width>([&](int32_t j) { sum[j] = bias[o + j]; });
    multiply_accumulate<width>(x, 1, weights + o, out, 1, in, sum);
    unrolled<width>([&](int32_t j) { y[o + j] = activate(sum[j], activation); });
  });
}

}  // namespace ftte::float32
