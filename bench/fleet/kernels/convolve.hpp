// Sums of a convolution: lanes are output channels, whose weights are transposed once a call.
#pragma once

#include <type_traits>

#include "engine/blocks.hpp"
#include "engine/shapes.hpp"
#include "scratch.hpp"
#include "vectors.hpp"

namespace ftte::host {

// The map that windows lie in: x itself, or a copy with zeros around it.
template <class T>
struct Map {
  const T* at;
  int32_t row;  // elements
};

template <class T, class Stored>
Map<T> padded(const Conv2dShape& s, const Stored* x) {
  const int32_t height = (s.out_h - 1) * s.stride_h + s.kernel_h;
  const int32_t width = (s.out_w - 1) * s.stride_w + s.kernel_w;
  if constexpr (std::is_same_v<T, Stored>) {
    if (s.pad_top == 0 && s.pad_left == 0 && height <= s.in_h && width <= s.in_w) return {x, s.in_w * s.in_c};
  }
  thread_local host::Scratch scratch;
  const int32_t row = (width > s.pad_left + s.in_w ? width : s.pad_left + s.in_w) * s.in_c;
  const int32_t rows = height > s.pad_top + s.in_h ? height : s.pad_top + s.in_h;
  T* const map = scratch.of<T>(rows * row);
  std::memset(map, 0, sizeof(T) * static_cast<size_t>(rows * row));
  for (int32_t y = 0; y < s.in_h; ++y) {
    widen(x + y * s.in_w * s.in_c, s.in_w * s.in_c, map + (s.pad_top + y) * row + s.pad_left * s.in_c);
  }
  return {map, row};
}

// A row of weights goes over a window in runs of elements that are neighbours in the map.
template <class Stored>
struct Runs {
  const Stored* weights;  // [group_out][count][length]
  int32_t first;          // element of the window where the first begins
  int32_t rows, columns;  // count = rows * columns
  int32_t column;         // elements from one to the next of a row
  int32_t length;

  int32_t count() const { return rows * columns; }
  int32_t size() const { return count() * length; }
};

template <class Stored>
Runs<Stored> runs_of(const Conv2dShape& s, const Stored* weights, int32_t group, int32_t first, int32_t channels) {
  const Stored* const of_group = weights + group * s.group_out() * s.taps() * channels;
  const int32_t at = group * s.group_in() + first;
  if (channels == s.in_c) return {of_group, at, s.kernel_h, 1, 0, s.kernel_w * channels};
  return {of_group, at, channels == 0 ? 0 : s.kernel_h, s.kernel_w, s.in_c, channels};
}

// packed[element][width] = the weights, narrow, of `channels` <= width rows from weights on; lanes beyond them are
// zero.
template <class T, class Stored>
void pack(const Stored* weights, int32_t size, int32_t channels, int32_t width, T* packed) {
  for (int32_t lane = 0; lane < width; lane += kLanes) {
    const int32_t rows = channels - lane < kLanes ? channels - lane : kLanes;
    int32_t i = 0;
    const Stored* const from = weights + lane * size;
    if (rows == kLanes) {
      for (; i + kLanes <= size; i += kLanes) transpose<T>(from + i, size, packed + i * width + lane, width);
    }
    for (; i < size; ++i) {
      for (int32_t j = 0; j < kLanes; ++j)
        packed[i * width + lane + j] = j < rows ? narrow<T>(static_cast<T>(from[j * size + i])) : T{0};
    }
  }
}

// Sums of kPositions windows that begin at `windows` and kWidth channels.
template <int32_t kPositions, int32_t kWidth, class T, class Stored>
[[gnu::always_inline]] inline void add_runs(const Runs<Stored>& runs, int32_t map_row,
                                            const T* const (&windows)[kPositions], const T* packed,
                                            Line<T, kWidth> (&sum)[kPositions]) {
  for (int32_t row = 0; row < runs.rows; ++row) {
    for (int32_t column = 0; column < runs.columns; ++column) {
      const int32_t begin = runs.first + row * map_row + column * runs.column;
      const int32_t end = begin + runs.length;
      for (int32_t i = begin; i < end; ++i, packed += kWidth) {
        const auto weights = Line<T, kWidth>::of(packed);
        for (int32_t p = 0; p < kPositions; ++p) sum[p].add_narrow(windows[p][i], weights);
      }
    }
  }
}

// Output channels [first, first + channels) of all positions, their packed weights one part after the other.
template <class T, class Stored>
struct Block {
  const Runs<Stored>* parts;  // two
  const T* packed;
  const T* bias;  // padded to the width
  int32_t first, channels;
};

template <int32_t kPositions, int32_t kWidth, class T, class Stored, class Take>
void sums_of(const Conv2dShape& s, const Map<T>& map, const Block<T, Stored>& block, const Take& take) {
  const int32_t positions = s.positions();
  int32_t oy = 0;
  int32_t ox = 0;
  const T* windows[kPositions];
  for (int32_t first = 0; first < positions; first += kPositions) {
    const int32_t count = positions - first < kPositions ? positions - first : kPositions;
    for (int32_t p = 0; p < kPositions; ++p) {
      windows[p] = p < count ? map.at + oy * s.stride_h * map.row + ox * s.stride_w * s.in_c : windows[0];
      if (p < count && ++ox == s.out_w) {
        ox = 0;
        ++oy;
      }
    }
    Line<T, kWidth> sum[kPositions];
    for (int32_t p = 0; p < kPositions; ++p) sum[p] = Line<T, kWidth>::of(block.bias);
    const Runs<Stored>& trained = block.parts[0];
    add_runs(trained, map.row, windows, block.packed, sum);
    add_runs(block.parts[1], map.row, windows, block.packed + trained.size() * kWidth, sum);
    for (int32_t p = 0; p < count; ++p) {
      T sums[kWidth];
      sum[p].to(sums);
      take(first + p, block.first, sums, Width<kWidth>{}, block.channels);
    }
  }
}

// As many positions as leave registers for the weights; a layer of one position has wider blocks instead.
template <class T, class Stored, class Take>
void block_of(const Conv2dShape& s, const Map<T>& map, int32_t width, const Block<T, Stored>& block, const Take& take) {
  if (s.positions() == 1) {
    if (width == 32) return sums_of<1, 32>(s, map, block, take);
    return width == 16 ? sums_of<1, 16>(s, map, block, take) : sums_of<1, 8>(s, map, block, take);
  }
  constexpr int32_t kPositions = kMostLanes == 16 ? 8 : 6;
  return width == 16 ? sums_of<kPositions, 16>(s, map, block, take) : sums_of<8, 8>(s, map, block, take);
}

// A map [positions][channels] that blocks of channels are stored into, position by position.
template <class T>
struct Output {
  T* at;
  int32_t channels, size;

  // The first `valid` of kWidth channels. Where a block has all channels, what is written beyond them is the next
  // position's, whose turn is still to come.
  template <int32_t kWidth>
  [[gnu::always_inline]] void put(int32_t position, int32_t first, const T (&values)[kWidth], int32_t valid) const {
    const int32_t index = position * channels + first;
    if (valid == kWidth || (valid == channels && index + kWidth <= size)) {
      std::memcpy(at + index, values, sizeof values);
    } else {
      for (int32_t c = 0; c < valid; ++c) at[index + c] = values[c];
    }
  }
};

// take(position, first channel, sums, Width<n>, valid): the sums of n channels, of which `valid` are the layer's, for
// all positions and channels. `bias_of(channel)` begins a sum; then follow the trained channels tap by tap, then the
// frozen ones.
template <class T, class Stored, class BiasOf, class Take>
void convolve(const Conv2dShape& shape, const Stored* x, const Weights<Stored>& weights, const BiasOf& bias_of,
              const Take& take) {
  thread_local Scratch packed_scratch;
  const int32_t widest = shape.positions() == 1 ? 4 * kLanes : 2 * kLanes;
  const int32_t group_in = shape.group_in();
  const int32_t group_out = shape.group_out();
  T* const packed = packed_scratch.of<T>(widest * shape.taps() * group_in);
  const Map<T> map = padded<T>(shape, x);
  for (int32_t group = 0; group < shape.groups; ++group) {
    const Runs<Stored> parts[] = {
        runs_of(shape, weights.trained, group, 0, weights.trained_in),
        runs_of(shape, weights.frozen, group, weights.trained_in, group_in - weights.trained_in)};
    for (int32_t first = 0; first < group_out;) {
      const int32_t left = group_out - first;
      const int32_t width = left > 2 * kLanes ? widest : left > kLanes ? 2 * kLanes : kLanes;
      const int32_t channels = left < width ? left : width;
      T* to = packed;
      for (const Runs<Stored>& part : parts) {
        pack(part.weights + first * part.size(), part.size(), channels, width, to);
        to += part.size() * width;
      }
      T biases[4 * kLanes] = {};
      const int32_t channel = group * group_out + first;
      for (int32_t c = 0; c < channels; ++c) biases[c] = bias_of(channel + c);
      block_of(shape, map, width, Block<T, Stored>{parts, packed, biases, channel, channels}, take);
      first += channels;
    }
  }
}

}  // namespace ftte::host
