// The inner loop that the kernels share: one activation or gradient times a block of weights.
#pragma once

#include <cstdint>

namespace ftte::float32 {

inline constexpr int32_t kBlock = 4;

// accumulator[j] += sum over i < n of a[i * a_step] * b[i * b_step + j * b_stride], j < kWidth.
template <int32_t kWidth>
inline void multiply_accumulate(const float* a, int32_t a_step, const float* b, int32_t b_step, int32_t b_stride,
                                int32_t n, float (&accumulator)[kWidth]) {
  for (int32_t i = 0; i < n; ++i) {
    const float shared = *a;
    for (int32_t j = 0; j < kWidth; ++j) accumulator[j] += shared * b[j * b_stride];
    a += a_step;
    b += b_step;
  }
}

}  // namespace ftte::float32
