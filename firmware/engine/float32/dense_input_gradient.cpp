#include "engine/float32/bits.hpp"
#include "engine/float32/dense.hpp"
#include "engine/float32/dot.hpp"

namespace ftte::float32 {

void dense_input_gradient(const DenseShape& shape, const float* gy, const float* weights, const float* x, float* gx) {
  const int32_t out = shape.out;
  in_blocks(shape.in, [=](auto width, int32_t i) {
    float sum[width] = {};
    multiply_accumulate<width>(gy, 1, weights + i * out, 1, out, out, sum);
    unrolled<width>([&](int32_t j) { gx[i + j] = x != nullptr ? relu_gradient(sum[j], x[i + j]) : sum[j]; });
  });
}

}  // namespace ftte::float32
