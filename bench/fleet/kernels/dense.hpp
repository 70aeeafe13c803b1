// Fully connected layers: convolutions with one output, whose window is the whole input.
#pragma once

#include <algorithm>
#include <type_traits>

#include "engine/shapes.hpp"
#include "scratch.hpp"
#include "vectors.hpp"

namespace ftte::host {

inline bool covers_input(const Conv2dShape& s) {
  return s.groups == 1 && s.positions() == 1 && s.kernel_h == s.in_h && s.kernel_w == s.in_w && s.pad_top == 0 &&
         s.pad_left == 0;
}

// Whether all weights train or none does, so that they lie in one piece, and that piece.
template <class Stored>
bool in_one_part(const Conv2dShape& s, const Weights<Stored>& weights) {
  return s.groups == 1 && (weights.trained_in == 0 || weights.trained_in == s.in_c);
}
template <class Stored>
const Stored* whole(const Weights<Stored>& weights) {
  return weights.trained_in == 0 ? weights.frozen : weights.trained;
}

// Trained and frozen channels in one piece, [out_c][taps][group_in]: either where the other has none, or a copy.
template <class Stored>
const Stored* joined(const Conv2dShape& s, const Weights<Stored>& weights) {
  const int32_t trained = weights.trained_in;
  const int32_t frozen = s.group_in() - trained;
  if (frozen == 0) return weights.trained;
  if (trained == 0) return weights.frozen;
  thread_local Scratch scratch;
  Stored* const copy = scratch.of<Stored>(s.out_c * s.taps() * s.group_in());
  Stored* to = copy;
  for (int32_t row = 0; row < s.out_c * s.taps(); ++row) {
    to = std::copy_n(weights.trained + row * trained, trained, to);
    to = std::copy_n(weights.frozen + row * frozen, frozen, to);
  }
  return copy;
}

// Elements [0, 4) of eight rows that begin n apart, transposed: columns[i][row].
template <class T>
[[gnu::always_inline]] inline void columns_of(const T* rows, int32_t n, Vector<T> (&columns)[4]) {
  Vector<T> pair[4];  // rows i and i + 4
  for (int32_t i = 0; i < 4; ++i) {
    const Vector<T, 4> low = load<T, 4>(rows + i * n);
    const Vector<T, 4> high = load<T, 4>(rows + (i + 4) * n);
    pair[i] = __builtin_shufflevector(low, high, 0, 1, 2, 3, 4, 5, 6, 7);
  }
  const Vector<T> a = __builtin_shufflevector(pair[0], pair[1], 0, 8, 1, 9, 4, 12, 5, 13);
  const Vector<T> b = __builtin_shufflevector(pair[0], pair[1], 2, 10, 3, 11, 6, 14, 7, 15);
  const Vector<T> c = __builtin_shufflevector(pair[2], pair[3], 0, 8, 1, 9, 4, 12, 5, 13);
  const Vector<T> d = __builtin_shufflevector(pair[2], pair[3], 2, 10, 3, 11, 6, 14, 7, 15);
  columns[0] = __builtin_shufflevector(a, c, 0, 1, 8, 9, 4, 5, 12, 13);
  columns[1] = __builtin_shufflevector(a, c, 2, 3, 10, 11, 6, 7, 14, 15);
  columns[2] = __builtin_shufflevector(b, d, 0, 1, 8, 9, 4, 5, 12, 13);
  columns[3] = __builtin_shufflevector(b, d, 2, 3, 10, 11, 6, 7, 14, 15);
}

// y[row] = bias[row] + x times the row, for kGroups * kLanes rows of n elements: lanes are rows, which are transposed
// as they are loaded.
template <int32_t kGroups, class T>
void products_of(const T* __restrict x, int32_t n, const T* __restrict rows, const T* bias, T* y) {
  Vector<T> sum[kGroups];
  for (int32_t g = 0; g < kGroups; ++g) sum[g] = load<T>(bias + g * kLanes);
  int32_t i = 0;
  for (; i + 4 <= n; i += 4) {
    for (int32_t g = 0; g < kGroups; ++g) {
      Vector<T> columns[4];
      columns_of(rows + g * kLanes * n + i, n, columns);
      for (int32_t k = 0; k < 4; ++k) sum[g] += all<T>(x[i + k]) * columns[k];
    }
  }
  for (; i < n; ++i) {
    for (int32_t g = 0; g < kGroups; ++g) {
      Vector<T> column;
      for (int32_t j = 0; j < kLanes; ++j) column[j] = rows[(g * kLanes + j) * n + i];
      sum[g] += all<T>(x[i]) * column;
    }
  }
  for (int32_t g = 0; g < kGroups; ++g) store<T>(y + g * kLanes, sum[g]);
}

// y = bias + the matrix [count][n] times x, each sum in the order of x.
template <class T>
void products(const T* x, int32_t n, const T* matrix, int32_t count, const T* bias, T* y) {
  int32_t row = 0;
  while (count - row >= kLanes) {
    const int32_t groups = (count - row) / kLanes;
    const T* const rows = matrix + row * n;
    switch (groups) {
      case 1:
        products_of<1>(x, n, rows, bias + row, y + row);
        break;
      case 2:
        products_of<2>(x, n, rows, bias + row, y + row);
        break;
      case 3:
        products_of<3>(x, n, rows, bias + row, y + row);
        break;
      default:
        products_of<4>(x, n, rows, bias + row, y + row);
        break;
    }
    row += (groups < 4 ? groups : 4) * kLanes;
  }
  if (row == count) return;
  thread_local Scratch scratch;
  T* const padded = scratch.of<T>(kLanes * n);
  std::memset(padded, 0, sizeof(T) * static_cast<size_t>(kLanes * n));
  std::memcpy(padded, matrix + row * n, sizeof(T) * static_cast<size_t>((count - row) * n));
  T begin[kLanes] = {};
  T end[kLanes];
  for (int32_t j = row; j < count; ++j) begin[j - row] = bias[j];
  products_of<1>(x, n, padded, begin, end);
  for (int32_t j = row; j < count; ++j) y[j] = end[j - row];
}

}  // namespace ftte::host
