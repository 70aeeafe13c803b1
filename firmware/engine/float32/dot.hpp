// The inner loop that the kernels share: one activation or gradient times a block of weights.
#pragma once

#include <cstdint>

#include "engine/blocks.hpp"

namespace ftte::float32 {

// accumulator[j] += sum over i < n of a[i * a_step] * b[i * b_step + j * b_stride], j < kWidth. a_step > 0.
template <int32_t kWidth>
[[gnu::always_inline]] inline void multiply_accumulate(const float* a, int32_t a_step, const float* b, int32_t b_step,
                                                       int32_t b_stride, int32_t n, float (&accumulator)[kWidth]) {
  for (const float* const end = a + n * a_step; a != end; a += a_step, b += b_step) {
    const float shared = *a;
    unrolled<kWidth>([&](int32_t j) { accumulator[j] += shared * b[j * b_stride]; });
  }
}

// accumulator[j] += sum over i < n of a[i * a_step + j] * b[i * b_step + j], j < kWidth: what depthwise kernels have
// instead.
template <int32_t kWidth>
[[gnu::always_inline]] inline void multiply_elements(const float* a, int32_t a_step, const float* b, int32_t b_step,
                                                     int32_t n, float (&accumulator)[kWidth]) {
  for (int32_t i = 0; i < n; ++i, a += a_step, b += b_step) {
    unrolled<kWidth>([&](int32_t j) { accumulator[j] += a[j] * b[j]; });
  }
}

// accumulator[j] += sum over i < n of a[i * step + j], j < kWidth.
template <int32_t kWidth>
[[gnu::always_inline]] inline void add_elements(const float* a, int32_t step, int32_t n, float (&accumulator)[kWidth]) {
  for (int32_t i = 0; i < n; ++i, a += step) {
    unrolled<kWidth>([&](int32_t j) { accumulator[j] += a[j]; });
  }
}

}  // namespace ftte::float32
