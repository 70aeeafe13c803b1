// Loops over what a window meets, shared by the kernels that have one. `Shape` is Conv2dShape or PoolShape.
#pragma once

#include <cstdint>

#include "engine/window.hpp"

namespace ftte::float32 {

// The taps of one window that lie inside the map: [top, bottom) x [left, right).
struct Inside {
  int32_t top, bottom, left, right;
};

// body(position of y, offset in positions of x of the window's tap (0, 0), which may lie outside, Inside), row by row.
template <typename Shape, typename Body>
[[gnu::always_inline]] inline void for_windows(const Shape& s, const Body& body) {
  int32_t position = 0;
  for (int32_t oy = 0; oy < s.out_h; ++oy) {
    const int32_t y = oy * s.stride_h - s.pad_top;
    const auto rows = taps_inside(y, s.kernel_h, s.in_h);
    for (int32_t ox = 0; ox < s.out_w; ++ox, ++position) {
      const int32_t x = ox * s.stride_w - s.pad_left;
      const auto columns = taps_inside(x, s.kernel_w, s.in_w);
      body(position, y * s.in_w + x, Inside{rows.first, rows.last, columns.first, columns.last});
    }
  }
}

// body(tap, position of x, n) for each row of a window's taps that lie inside: the first of n; `origin` as for_windows
// gives it.
template <typename Shape, typename Body>
[[gnu::always_inline]] inline void for_tap_rows(const Shape& s, int32_t origin, const Inside& inside,
                                                const Body& body) {
  for (int32_t ky = inside.top; ky < inside.bottom; ++ky) {
    body(ky * s.kernel_w + inside.left, origin + ky * s.in_w + inside.left, inside.right - inside.left);
  }
}

// body(position of x, Reach of its row, Reach of its column), row by row.
template <typename Shape, typename Body>
[[gnu::always_inline]] inline void for_inputs(const Shape& s, const Body& body) {
  int32_t position = 0;
  Reach row = first_reach(s.pad_top, s.stride_h);
  for (int32_t iy = 0; iy < s.in_h; ++iy, advance(row, s.stride_h)) {
    const Reach inside_row = clipped(row, s.out_h, s.stride_h);
    Reach column = first_reach(s.pad_left, s.stride_w);
    for (int32_t ix = 0; ix < s.in_w; ++ix, advance(column, s.stride_w), ++position) {
      body(position, inside_row, clipped(column, s.out_w, s.stride_w));
    }
  }
}

// How many outputs from a Reach on, downwards, have a tap of a kernel of size `kernel`.
constexpr int32_t reached(const Reach& reach, int32_t kernel, int32_t stride) {
  int32_t count = 0;
  for (int32_t tap = reach.tap; tap < kernel && count <= reach.newest; tap += stride) ++count;
  return count;
}

// body(tap, position of y, n) for each row of the outputs whose window covers one position of x, the last first: the
// last of n, of which each next is one before with its tap stride_w further.
template <typename Shape, typename Body>
[[gnu::always_inline]] inline void for_reached_rows(const Shape& s, const Reach& row, const Reach& column,
                                                    const Body& body) {
  const int32_t columns = reached(column, s.kernel_w, s.stride_w);
  for (int32_t oy = row.newest, ky = row.tap; oy >= 0 && ky < s.kernel_h; --oy, ky += s.stride_h) {
    body(ky * s.kernel_w + column.tap, oy * s.out_w + column.newest, columns);
  }
}

// The outputs for which one tap lies inside the map: `rows` x `columns` of them from position `y`; the first reads
// position `x`.
struct Meeting {
  int32_t rows, columns, y, x;
};

// body(tap, Meeting), tap by tap.
template <typename Shape, typename Body>
[[gnu::always_inline]] inline void for_meetings(const Shape& s, const Body& body) {
  for (int32_t ky = 0; ky < s.kernel_h; ++ky) {
    const auto rows = outputs_inside(ky, s.stride_h, s.pad_top, s.in_h, s.out_h);
    const int32_t y = rows.first * s.stride_h + ky - s.pad_top;
    for (int32_t kx = 0; kx < s.kernel_w; ++kx) {
      const auto columns = outputs_inside(kx, s.stride_w, s.pad_left, s.in_w, s.out_w);
      const int32_t x = columns.first * s.stride_w + kx - s.pad_left;
      body(ky * s.kernel_w + kx,
           Meeting{rows.size(), columns.size(), rows.first * s.out_w + columns.first, y * s.in_w + x});
    }
  }
}

}  // namespace ftte::float32
