// Gradient with respect to a convolution's input: lanes are input channels, neighbours in the weights.
#pragma once

#include <type_traits>

#include "dense.hpp"
#include "engine/float32/walk.hpp"
#include "engine/shapes.hpp"
#include "scratch.hpp"
#include "vectors.hpp"

namespace ftte::host {

inline constexpr int32_t kInputsAtOnce = 4;

// The channels of a group: weights [group_out][taps][row], whose rows have room for whole vectors.
template <class T>
struct Part {
  const T* weights;
  int32_t row, channels;
};

// A row of outputs that inputs reach, the last output first, and the weights' row that belongs to it.
struct Rows {
  int32_t count;
  int32_t output[64];
  int32_t tap[64];
};

// Inputs with the same taps: the first reaches output column `newest` with `tap`, each next one an output further.
struct Columns {
  int32_t newest, tap, reached;
};

// Sums of kCount inputs and kVectors * kLanes channels from `channel` on.
template <int32_t kCount, int32_t kVectors, class T>
void input_sums(const Conv2dShape& s, const Part<T>& part, const Rows& rows, const Columns& columns, const T* gy,
                int32_t channel, T (&sums)[kCount][kVectors * kLanes]) {
  Vector<T> sum[kCount][kVectors] = {};
  const int32_t outputs = s.group_out();
  const int32_t step = s.taps() * part.row;
  for (int32_t r = 0; r < rows.count; ++r) {
    for (int32_t k = 0; k < columns.reached; ++k) {
      const T* slope = gy + (rows.output[r] * s.out_w + columns.newest - k) * s.out_c;
      const int32_t tap = rows.tap[r] * s.kernel_w + columns.tap + k * s.stride_w;
      const T* weights = part.weights + tap * part.row + channel;
      for (int32_t o = 0; o < outputs; ++o, ++slope, weights += step) {
        for (int32_t p = 0; p < kCount; ++p) {
          const Vector<T> shared = all<T>(slope[p * s.out_c]);
          for (int32_t v = 0; v < kVectors; ++v) sum[p][v] += shared * load<T>(weights + v * kLanes);
        }
      }
    }
  }
  for (int32_t p = 0; p < kCount; ++p) {
    for (int32_t v = 0; v < kVectors; ++v) store<T>(sums[p] + v * kLanes, sum[p][v]);
  }
}

// Of kCount inputs, stride_w apart, the first of them at gx; all channels of the part.
template <int32_t kCount, class T>
void inputs_of(const Conv2dShape& s, const Part<T>& part, const Rows& rows, const Columns& columns, const T* gy,
               T* gx) {
  const int32_t apart = s.stride_w * s.in_c;
  int32_t channel = 0;
  for (; part.channels - channel > kLanes; channel += 2 * kLanes) {
    T sums[kCount][2 * kLanes];
    input_sums<kCount, 2>(s, part, rows, columns, gy, channel, sums);
    const int32_t here = part.channels - channel < 2 * kLanes ? part.channels - channel : 2 * kLanes;
    for (int32_t p = 0; p < kCount; ++p) {
      for (int32_t c = 0; c < here; ++c) gx[p * apart + channel + c] = sums[p][c];
    }
  }
  if (channel >= part.channels) return;
  T sums[kCount][kLanes];
  input_sums<kCount, 1>(s, part, rows, columns, gy, channel, sums);
  for (int32_t p = 0; p < kCount; ++p) {
    for (int32_t c = 0; c < part.channels - channel; ++c) gx[p * apart + channel + c] = sums[p][c];
  }
}

inline Columns columns_of(const Conv2dShape& s, int32_t x) {
  Reach reach{(x + s.pad_left) / s.stride_w, (x + s.pad_left) % s.stride_w};
  reach = clipped(reach, s.out_w, s.stride_w);
  return {reach.newest, reach.tap, float32::reached(reach, s.kernel_w, s.stride_w)};
}

// Inputs of one phase of the stride, for they reach outputs by the same taps, as many at once as do.
template <class T>
void row_of(const Conv2dShape& s, const Part<T>& part, const Rows& rows, const T* gy, T* gx) {
  for (int32_t phase = 0; phase < s.stride_w; ++phase) {
    for (int32_t x = phase; x < s.in_w;) {
      const Columns columns = columns_of(s, x);
      const int32_t last = x + (kInputsAtOnce - 1) * s.stride_w;
      const Columns end = last < s.in_w ? columns_of(s, last) : Columns{};
      const bool alike = last < s.in_w && end.newest == columns.newest + kInputsAtOnce - 1 && end.tap == columns.tap &&
                         end.reached == columns.reached;
      if (alike) {
        inputs_of<kInputsAtOnce>(s, part, rows, columns, gy, gx + x * s.in_c);
      } else {
        inputs_of<1>(s, part, rows, columns, gy, gx + x * s.in_c);
      }
      x += (alike ? kInputsAtOnce : 1) * s.stride_w;
    }
  }
}

template <class T>
void part_gradient(const Conv2dShape& s, const Part<T>& part, const T* gy, T* gx) {
  Reach row = first_reach(s.pad_top, s.stride_h);
  for (int32_t y = 0; y < s.in_h; ++y, advance(row, s.stride_h)) {
    const Reach inside = clipped(row, s.out_h, s.stride_h);
    Rows rows{};
    for (int32_t o = inside.newest, tap = inside.tap; o >= 0 && tap < s.kernel_h; --o, tap += s.stride_h) {
      rows.output[rows.count] = o;
      rows.tap[rows.count++] = tap;
    }
    row_of(s, part, rows, gy, gx + y * s.in_w * s.in_c);
  }
}

// The rows of weights with room for whole vectors: themselves, or a copy.
template <class T, class Stored>
Part<T> part_of(const Stored* weights, int32_t channels, int32_t count) {
  if constexpr (std::is_same_v<T, Stored>) {
    if (channels % kLanes == 0) return {weights, channels, channels};
  }
  thread_local Scratch scratch;
  const int32_t row = up_to_lanes(channels);
  T* const padded = scratch.of<T>(count * row);
  if (row == channels) {
    widen(weights, count * row, padded);
    return {padded, row, channels};
  }
  for (int32_t i = 0; i < count; ++i) {
    for (int32_t c = 0; c < row; ++c)
      padded[i * row + c] = c < channels ? static_cast<T>(weights[i * channels + c]) : T{0};
  }
  return {padded, row, channels};
}

// Columns [first, ...) of gy times the matrix [out_c][n], kLines lines at once; returns the first that is left.
template <int32_t kLines, class T, class Stored>
int32_t dense_columns(const Conv2dShape& s, const T* gy, const Stored* weights, int32_t n, int32_t first, T* gx) {
  constexpr int32_t kWidth = 2 * kLanes;
  for (; first + kLines * kWidth <= n; first += kLines * kWidth) {
    Line<T, kWidth> sum[kLines];
    for (int32_t o = 0; o < s.out_c; ++o) {
      const Stored* const row = weights + o * n + first;
      for (int32_t l = 0; l < kLines; ++l) sum[l].add(gy[o], Line<T, kWidth>::of(row + l * kWidth));
    }
    for (int32_t l = 0; l < kLines; ++l) sum[l].to(gx + first + l * kWidth);
  }
  return first;
}

// One output position whose window is the whole input: gx = gy times the matrix [out_c][n].
template <class T, class Stored>
void dense_gradient(const Conv2dShape& s, const T* gy, const Stored* weights, int32_t n, T* gx) {
  int32_t first = 0;
  if constexpr (kMostLanes == 2 * kLanes) first = dense_columns<12>(s, gy, weights, n, first, gx);
  first = dense_columns<4>(s, gy, weights, n, first, gx);
  first = dense_columns<1>(s, gy, weights, n, first, gx);
  for (; first < n; ++first) {
    T sum{0};
    for (int32_t o = 0; o < s.out_c; ++o) sum += gy[o] * static_cast<T>(weights[o * n + first]);
    gx[first] = sum;
  }
}

// gx under the rows of a window, with zeros around the map and room behind each row.
template <class T>
struct Canvas {
  T* at;
  int32_t row;
};

template <class T>
Canvas<T> canvas_of(const Conv2dShape& s) {
  thread_local Scratch scratch;
  const int32_t width = (s.out_w - 1) * s.stride_w + s.kernel_w;
  const int32_t height = (s.out_h - 1) * s.stride_h + s.kernel_h;
  const int32_t columns = width > s.pad_left + s.in_w ? width : s.pad_left + s.in_w;
  const int32_t rows = height > s.pad_top + s.in_h ? height : s.pad_top + s.in_h;
  const int32_t row = columns * s.in_c + 2 * kLanes;
  T* const at = scratch.of<T>(rows * row);
  std::memset(at, 0, sizeof(T) * static_cast<size_t>(rows * row));
  return {at, row};
}

// Adds one output's part to kRows rows of its window, of each kWidth elements from `to` on, of which the first `valid`
// are the row's own: the rest stays as it is.
template <int32_t kRows, int32_t kWidth, class T>
void add_rows(const Conv2dShape& s, const T* slope, const T* weights, int32_t weights_row, int32_t valid, T* to,
              int32_t to_row) {
  Line<T, kWidth> sum[kRows];
  for (int32_t r = 0; r < kRows; ++r) sum[r] = Line<T, kWidth>::of(to + r * to_row);
  for (int32_t o = 0; o < s.out_c; ++o, weights += s.kernel_h * weights_row) {
    for (int32_t r = 0; r < kRows; ++r) sum[r].add(slope[o], Line<T, kWidth>::of(weights + r * weights_row));
  }
  for (int32_t r = 0; r < kRows; ++r) sum[r].first_to(valid, to + r * to_row);
}

// Of all rows of an output's window, the elements from `to` on, as many rows at once as there are registers for.
template <int32_t kWidth, class T>
void add_window(const Conv2dShape& s, const T* slope, const T* weights, int32_t weights_row, int32_t valid, T* to,
                int32_t to_row) {
  constexpr int32_t kMost = kWidth <= kMostLanes ? 5 : 3;
  int32_t row = 0;
  for (; row + kMost <= s.kernel_h; row += kMost) {
    add_rows<kMost, kWidth>(s, slope, weights + row * weights_row, weights_row, valid, to + row * to_row, to_row);
  }
  for (; row + 2 <= s.kernel_h; row += 2) {
    add_rows<2, kWidth>(s, slope, weights + row * weights_row, weights_row, valid, to + row * to_row, to_row);
  }
  for (; row < s.kernel_h; ++row) {
    add_rows<1, kWidth>(s, slope, weights + row * weights_row, weights_row, valid, to + row * to_row, to_row);
  }
}

// With few channels lanes would be idle, or sums too few at once to hide an addition's latency. Rows of the kernel are
// longer: each output, the last first, adds to the inputs under its window, which is the same order of each sum.
template <class T, class Stored>
void scatter(const Conv2dShape& s, const T* gy, const Stored* weights, T* gx) {
  const int32_t length = s.kernel_w * s.in_c;
  const Part<T> part = part_of<T>(weights, length, s.out_c * s.kernel_h);
  const Canvas<T> canvas = canvas_of<T>(s);
  for (int32_t oy = s.out_h; oy-- > 0;) {
    for (int32_t ox = s.out_w; ox-- > 0;) {
      const T* const slope = gy + (oy * s.out_w + ox) * s.out_c;
      T* const window = canvas.at + oy * s.stride_h * canvas.row + ox * s.stride_w * s.in_c;
      int32_t first = 0;
      for (; length - first > kLanes; first += 2 * kLanes) {
        add_window<2 * kLanes>(s, slope, part.weights + first, part.row, length - first, window + first, canvas.row);
      }
      if (first < length) {
        add_window<kLanes>(s, slope, part.weights + first, part.row, length - first, window + first, canvas.row);
      }
    }
  }
  for (int32_t y = 0; y < s.in_h; ++y) {
    std::memcpy(gx + y * s.in_w * s.in_c, canvas.at + (s.pad_top + y) * canvas.row + s.pad_left * s.in_c,
                sizeof(T) * static_cast<size_t>(s.in_w * s.in_c));
  }
}

// gx [in_size] = gradient with respect to the input: over the outputs whose window covers it, the last first, and of
// each over the group's output channels upwards.
template <class T, class Stored>
void input_gradient(const Conv2dShape& shape, const T* gy, const Weights<Stored>& weights, T* gx) {
  const Stored* const whole = joined(shape, weights);
  if (covers_input(shape)) {
    dense_gradient(shape, gy, whole, shape.in_size(), gx);
    return;
  }
  const int32_t group_in = shape.group_in();
  const int32_t group_out = shape.group_out();
  if (shape.groups == 1 && group_in <= kLanes && shape.kernel_w > 1) {
    scatter(shape, gy, whole, gx);
    return;
  }
  const int32_t rows = group_out * shape.taps();
  for (int32_t group = 0; group < shape.groups; ++group) {
    const auto part = part_of<T>(whole + group * rows * group_in, group_in, rows);
    part_gradient(shape, part, gy + group * group_out, gx + group * group_in);
  }
}

}  // namespace ftte::host
