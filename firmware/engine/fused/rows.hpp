// A chain of operators, a row of its output at a time: of the maps between them only a few rows exist.
//
// The last operator makes its rows in turn. Each asks the RowWindow of its input for the rows under its window, which
// asks the operator before for those that are missing, and so on. So every row is made once, in order, and a window
// keeps those that are still to be read. The compiler has counted how many that are (bench/compiler/flow.py).
#pragma once

#include <cstdint>

#include "engine/window.hpp"

namespace ftte {

// The rows [first, last) of its input that an output row reads, and the operator's shape as if they were all: an input
// of these rows, with the padding that is left above, and one row of output.
template <class Shape>
struct Strip {
  Shape shape;
  int32_t first, last;
};

template <class Shape>
constexpr Strip<Shape> strip(const Shape& whole, int32_t row) {
  const int32_t top = row * whole.stride_h - whole.pad_top;
  const Range inside = taps_inside(top, whole.kernel_h, whole.in_h);
  Strip<Shape> found{whole, top + inside.first, top + inside.last};
  found.shape.in_h = inside.size();
  found.shape.out_h = 1;
  found.shape.pad_top = inside.first;
  return found;
}

// The rows of a map that exist: `capacity` of them fit. Rows lie one behind the other; when the window is full, those
// which are no longer read make room, and the others move down.
template <typename T>
class RowWindow {
 public:
  // rows: [capacity][row_size], aligned to four bytes.
  RowWindow(T* rows, int32_t row_size, int32_t capacity) : rows_(rows), row_size_(row_size), capacity_(capacity) {}

  // The rows [first, last), one behind the other. make(row, T* y) makes those that are missing. Rows before `first` are
  // not asked for again.
  template <class Make>
  const T* rows(int32_t first, int32_t last, const Make& make) {
    while (end_ < last) {
      if (end_ - begin_ == capacity_) drop_before(first);
      make(end_, row(end_));
      ++end_;
    }
    return row(first);
  }

 private:
  T* row(int32_t index) { return rows_ + (index - begin_) * row_size_; }

  // Moves what remains down; bytes four at a time where rows allow it. Bytes may be looked at as words, floats not.
  void drop_before(int32_t oldest) {
    const T* const from = row(oldest);
    const T* const end = row(end_);
    begin_ = oldest;
    if constexpr (sizeof(T) == 1) {
      if (row_size_ % 4 == 0) {
        move(reinterpret_cast<const uint32_t*>(from), reinterpret_cast<const uint32_t*>(end),
             reinterpret_cast<uint32_t*>(rows_));
        return;
      }
    }
    move(from, end, rows_);
  }

  // Not memmove: the C library for boards moves byte by byte.
  template <typename Unit>
  static void move(const Unit* from, const Unit* end, Unit* to) {
    for (; end - from >= 4; from += 4, to += 4) {
      const Unit block[] = {from[0], from[1], from[2], from[3]};
      to[0] = block[0];
      to[1] = block[1];
      to[2] = block[2];
      to[3] = block[3];
    }
    for (; from != end; ++from, ++to) {
      *to = *from;
      asm volatile("" ::: "memory");  // or GCC would call memmove
    }
  }

  T* rows_;
  int32_t row_size_, capacity_;
  int32_t begin_ = 0, end_ = 0;
};

}  // namespace ftte
