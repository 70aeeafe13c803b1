// The inner loop that the kernels share: one activation or gradient times a block of weights.
#pragma once

#include <cstdint>

#include "engine/blocks.hpp"

namespace ftte::int8 {

// accumulator[j] += sum over i < n of a[i * a_step] * b[i * b_step + j * b_stride], j < kWidth.
template <int32_t kWidth>
[[gnu::always_inline]] inline void multiply_accumulate(const int8_t* a, int32_t a_step, const int8_t* b, int32_t b_step,
                                                       int32_t b_stride, int32_t n, int32_t (&accumulator)[kWidth]) {
  for (const int8_t* const end = a + n * a_step; a != end; a += a_step, b += b_step) {
    const int32_t shared = *a;
    unrolled<kWidth>([&](int32_t j) { accumulator[j] += shared * b[j * b_stride]; });
  }
}

}  // namespace ftte::int8
