// Loops that the backward kernels share: which outputs an input reaches, and the products of one such output.
#pragma once

#include <cstdint>

#include "engine/blocks.hpp"
#include "engine/int8/gradient_scale.hpp"
#include "engine/window.hpp"

namespace ftte::int8 {

// value * 2^left, as a shift; a signed value may not be shifted left in C++17.
constexpr int32_t lifted(int32_t value, int32_t left) {
  return static_cast<int32_t>(static_cast<uint32_t>(value) << left);
}

// body(Reach of its row, Reach of its column) for every position of x, row by row. Shape: Conv2dShape or PoolShape.
template <typename Shape, typename Body>
[[gnu::always_inline]] inline void for_inputs(const Shape& s, const Body& body) {
  Reach row = first_reach(s.pad_top, s.stride_h);
  for (int32_t iy = 0; iy < s.in_h; ++iy, advance(row, s.stride_h)) {
    const Reach inside_row = clipped(row, s.out_h, s.stride_h);
    Reach column = first_reach(s.pad_left, s.stride_w);
    for (int32_t ix = 0; ix < s.in_w; ++ix, advance(column, s.stride_w)) {
      body(inside_row, clipped(column, s.out_w, s.stride_w));
    }
  }
}

// body(tap, position of y) for the outputs whose window covers one position of x.
template <typename Shape, typename Body>
[[gnu::always_inline]] inline void for_reached(const Shape& s, const Reach& row, const Reach& column,
                                               const Body& body) {
  for (int32_t oy = row.newest, ky = row.tap; oy >= 0 && ky < s.kernel_h; --oy, ky += s.stride_h) {
    for (int32_t ox = column.newest, kx = column.tap; ox >= 0 && kx < s.kernel_w; --ox, kx += s.stride_w) {
      body(ky * s.kernel_w + kx, oy * s.out_w + ox);
    }
  }
}

// Stores the sums of `channels` neighbouring elements, which body(Width<w>, first, sums) writes block by block.
// They go into memory sixteen at a time, as each store has to fetch its state.
template <typename Body>
[[gnu::always_inline]] inline void store_sums(GradientStore& store, int32_t channels, const Body& body) {
  constexpr int32_t kChunk = 16;
  int32_t sums[kChunk];
  for (int32_t first = 0; first < channels; first += kChunk) {
    const int32_t n = channels - first < kChunk ? channels - first : kChunk;
    in_blocks(n, [&](auto width, int32_t i) { body(width, first + i, sums + i); });
    store.put(sums, n);
  }
}

// sum[j] += sum over o < n of (gy[o] << lift[o]) * w[o * step + j]
template <int32_t kWidth>
[[gnu::always_inline]] inline void multiply_lifted(const int8_t* gy, const int8_t* lift, const int8_t* w, int32_t step,
                                                   int32_t n, int32_t (&sum)[kWidth]) {
  for (const int8_t* const end = gy + n; gy != end; ++gy, ++lift, w += step) {
    const int32_t shared = lifted(*gy, *lift);
    unrolled<kWidth>([&](int32_t j) { sum[j] += shared * w[j]; });
  }
}

// sum[j] += sum over i < n of g[i * g_step] * x[i * x_step + j]
template <int32_t kWidth>
[[gnu::always_inline]] inline void multiply_row(const int8_t* g, int32_t g_step, const int8_t* x, int32_t x_step,
                                                int32_t n, int32_t (&sum)[kWidth]) {
  for (const int8_t* const end = g + n * g_step; g != end; g += g_step, x += x_step) {
    const int32_t shared = *g;
    unrolled<kWidth>([&](int32_t j) { sum[j] += shared * x[j]; });
  }
}

// sum[j] += a[j] * b[j], j < kWidth
template <int32_t kWidth>
[[gnu::always_inline]] inline void multiply_elements(const int8_t* a, const int8_t* b, int32_t (&sum)[kWidth]) {
  unrolled<kWidth>([&](int32_t j) { sum[j] += a[j] * b[j]; });
}

}  // namespace ftte::int8
