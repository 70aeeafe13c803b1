// Eight or sixteen numbers at a time, by the compiler's vectors.
//
// The host's kernels compute each sum in the order of the general ones, so they give the same bits: lanes hold
// different sums, never parts of one.
#pragma once

#ifdef __AVX2__
#include <immintrin.h>
#endif

#include <cstdint>
#include <cstring>
#include <type_traits>

namespace ftte::host {

constexpr int32_t kLanes = 8;
#ifdef __AVX512BW__
constexpr int32_t kMostLanes = 16;  // of a register
#else
constexpr int32_t kMostLanes = kLanes;
#endif

template <class T, int32_t kCount>
struct Lanes {
  typedef T Vector __attribute__((vector_size(kCount * sizeof(T))));
};
template <class T, int32_t kCount = kLanes>
using Vector = typename Lanes<T, kCount>::Vector;

// Neighbours, as numbers of type T.
template <class T, int32_t kCount = kLanes, class Stored>
[[gnu::always_inline]] inline Vector<T, kCount> load(const Stored* from) {
#ifdef __AVX2__
  // GCC 12 would widen bytes one by one.
  if constexpr (std::is_same_v<T, int32_t> && std::is_same_v<Stored, int8_t>) {
    __m128i bytes;
    if constexpr (kCount == kLanes) {
      bytes = _mm_loadu_si64(from);
      return (Vector<T, kCount>)_mm256_cvtepi8_epi32(bytes);
    } else {
      bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(from));
      return (Vector<T, kCount>)_mm512_cvtepi8_epi32(bytes);
    }
  }
#endif
  Vector<Stored, kCount> lanes;
  std::memcpy(&lanes, from, sizeof lanes);
  return __builtin_convertvector(lanes, Vector<T, kCount>);
}

template <class T, int32_t kCount = kLanes>
[[gnu::always_inline]] inline void store(T* to, Vector<T, kCount> lanes) {
  std::memcpy(to, &lanes, sizeof lanes);
}

template <class T, int32_t kCount = kLanes>
[[gnu::always_inline]] inline Vector<T, kCount> all(T value) {
  return value - Vector<T, kCount>{};  // x - 0 is x, a zero's sign included: the compiler keeps the broadcast alone
}

constexpr int32_t up_to_lanes(int32_t n) { return (n + kLanes - 1) & ~(kLanes - 1); }

// 0, 1, 2 ...
template <int32_t kCount>
[[gnu::always_inline]] inline Vector<int32_t, kCount> numbered() {
  Vector<int32_t, kCount> numbers = {0, 1, 2, 3, 4, 5, 6, 7};
  if constexpr (kCount == 16) numbers = Vector<int32_t, kCount>{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
  return numbers;
}

// A factor of sixteen bits, or a vector of them, for Line::add_narrow.
template <class T, class Value>
[[gnu::always_inline]] constexpr Value narrow(Value factor) {
#ifdef __AVX2__
  if constexpr (std::is_same_v<T, int32_t>) return factor & 0xFFFF;
#endif
  return factor;
}

// kWidth numbers beside each other, in as few registers as hold them.
template <class T, int32_t kWidth>
class Line {
  static constexpr int32_t kEach = kWidth < kMostLanes ? kWidth : kMostLanes;

 public:
  static constexpr int32_t kVectors = kWidth / kEach;  // registers

  template <class Stored>
  [[gnu::always_inline]] static Line of(const Stored* from) {
    Line line;
    for (int32_t v = 0; v < kVectors; ++v) line.vector_[v] = load<T, kEach>(from + v * kEach);
    return line;
  }
  // this += shared * factor, lane by lane.
  [[gnu::always_inline]] void add(T shared, const Line& factor) {
    for (int32_t v = 0; v < kVectors; ++v) vector_[v] += all<T, kEach>(shared) * factor.vector_[v];
  }
  // The same, where `shared` and what the factor was before narrow() have sixteen bits: of integers, the product of the
  // low halves and that of the high ones, which is none, take one instruction, a product of thirty-two bits takes two.
  [[gnu::always_inline]] void add_narrow(T shared, const Line& factor) {
#ifdef __AVX2__
    if constexpr (std::is_same_v<T, int32_t>) {
      for (int32_t v = 0; v < kVectors; ++v) {
        if constexpr (kEach == kLanes) {
          vector_[v] += (Vector<T, kEach>)_mm256_madd_epi16(_mm256_set1_epi32(shared), (__m256i)factor.vector_[v]);
        } else {
          vector_[v] += (Vector<T, kEach>)_mm512_madd_epi16(_mm512_set1_epi32(shared), (__m512i)factor.vector_[v]);
        }
      }
      return;
    }
#endif
    add(shared, factor);
  }
  [[gnu::always_inline]] void to(T* to) const {
    for (int32_t v = 0; v < kVectors; ++v) store<T, kEach>(to + v * kEach, vector_[v]);
  }
  // The first `count` alone; the rest stays as it is.
  [[gnu::always_inline]] void first_to(int32_t count, T* to) const {
    for (int32_t v = 0; v < kVectors; ++v) {
      const Vector<T, kEach> kept = load<T, kEach>(to + v * kEach);
      const auto own = numbered<kEach>() < all<int32_t, kEach>(count - v * kEach);
      store<T, kEach>(to + v * kEach, own ? vector_[v] : kept);
    }
  }

 private:
  Vector<T, kEach> vector_[kVectors] = {};
};

// to[j][i] = narrow(from[i][j]), 8 x 8; rows of `from` and `to` begin `from_row` and `to_row` elements apart.
template <class T, class Stored>
[[gnu::always_inline]] inline void transpose(const Stored* from, int32_t from_row, T* to, int32_t to_row) {
  Vector<T> r[kLanes];
  Vector<T> t[kLanes];
  for (int32_t i = 0; i < kLanes; ++i) r[i] = narrow<T>(load<T>(from + i * from_row));
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
inline void widen(const Stored* __restrict from, int32_t n, T* __restrict to) {
  for (int32_t i = 0; i < n; ++i) to[i] = static_cast<T>(from[i]);
}

}  // namespace ftte::host
