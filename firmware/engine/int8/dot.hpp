// The inner loops that the kernels share: products of int8 operands.
#pragma once

#include <cstdint>

#include "engine/blocks.hpp"

namespace ftte::int8 {

// sum[j] += sum over i < n of a[i] * rows[j * step + i], j < kWidth: one operand against rows that lie `step` apart.
template <int32_t kWidth>
[[gnu::always_inline]] inline void dot_rows(const int8_t* a, const int8_t* rows, int32_t step, int32_t n,
                                            int32_t (&sum)[kWidth]) {
  for (const int8_t* const end = a + n; a != end; ++a, ++rows) {
    const int32_t shared = *a;
    unrolled<kWidth>([&](int32_t j) { sum[j] += shared * rows[j * step]; });
  }
}

}  // namespace ftte::int8
