// Eight numbers at a time, by the compiler's vectors: the widest registers that it has are used.
//
// The host's kernels compute each sum in the order of the general ones, so they give the same bits: lanes hold
// different sums, never parts of one.
#pragma once

#include <cstdint>
#include <cstring>

namespace ftte::host {

constexpr int32_t kLanes = 8;

template <class T>
struct Lanes {
  typedef T Vector __attribute__((vector_size(kLanes * sizeof(T))));
};
template <class T>
using Vector = typename Lanes<T>::Vector;

// Eight neighbours, as numbers of type T.
template <class T, class Stored>
[[gnu::always_inline]] inline Vector<T> load(const Stored* from) {
  Vector<Stored> lanes;
  std::memcpy(&lanes, from, sizeof lanes);
  return __builtin_convertvector(lanes, Vector<T>);
}

template <class T>
[[gnu::always_inline]] inline void store(T* to, Vector<T> lanes) {
  std::memcpy(to, &lanes, sizeof lanes);
}

template <class T>
[[gnu::always_inline]] inline Vector<T> all(T value) {
  return Vector<T>{} + value;
}

constexpr int32_t up_to_lanes(int32_t n) { return (n + kLanes - 1) & ~(kLanes - 1); }

// to[j][i] = from[i][j], 8 x 8; rows of `from` and `to` begin `from_row` and `to_row` elements apart.
template <class T, class Stored>
[[gnu::always_inline]] inline void transpose(const Stored* from, int32_t from_row, T* to, int32_t to_row) {
  Vector<T> r[kLanes];
  Vector<T> t[kLanes];
  for (int32_t i = 0; i < kLanes; ++i) r[i] = load<T>(from + i * from_row);
  for (int32_t i = 0; i < kLanes; i += 2) {
    t[i] = __builtin_shufflevector(r[i], r[i + 1], 0, 8, 1, 9, 4, 12, 5, 13);
    t[i + 1] = __builtin_shufflevector(r[i], r[i + 1], 2, 10, 3, 11, 6, 14, 7, 15);
  }
  for (int32_t i = 0; i < kLanes; i += 4) {
    r[i] = __builtin_shufflevector(t[i], t[i + 2], 0, 1, 8, 9, 4, 5, 12, 13);
    r[i + 1] = __builtin_shufflevector(t[i], t[i + 2], 2, 3, 10, 11, 6, 7, 14, 15);
    r[i + 2] = __builtin_shufflevector(t[i + 1], t[i + 3], 0, 1, 8, 9, 4, 5, 12, 13);
    r[i + 3] = __builtin_shufflevector(t[i + 1], t[i + 3], 2, 3, 10, 11, 6, 7, 14, 15);
  }
  for (int32_t i = 0; i < 4; ++i) {
    store<T>(to + i * to_row, __builtin_shufflevector(r[i], r[i + 4], 0, 1, 2, 3, 8, 9, 10, 11));
    store<T>(to + (i + 4) * to_row, __builtin_shufflevector(r[i], r[i + 4], 4, 5, 6, 7, 12, 13, 14, 15));
  }
}

// to[i] = from[i] as T.
template <class T, class Stored>
inline void widen(const Stored* from, int32_t n, T* to) {
  for (int32_t i = 0; i < n; ++i) to[i] = static_cast<T>(from[i]);
}

}  // namespace ftte::host
