// Sums of a convolution's weight gradient: lanes are output channels.
#pragma once

#include <type_traits>

#include "engine/shapes.hpp"
#include "engine/window.hpp"
#include "scratch.hpp"
#include "vectors.hpp"

namespace ftte::host {

inline constexpr int32_t kElementsAtOnce = 8;  // elements of a window at once

// Gradients of the outputs, narrow, [position][row], with room for a whole vector from every element on.
template <class T>
struct Slopes {
  const T* at;
  int32_t row;
};

template <class T, class Stored>
Slopes<T> slopes_of(const Conv2dShape& s, const Stored* gy) {
  if constexpr (std::is_same_v<T, Stored>) {
    if (s.groups == 1 && s.out_c % kLanes == 0) return {gy, s.out_c};
  }
  thread_local Scratch scratch;
  T* const copy = scratch.of<T>(s.out_size() + kLanes);  // the last group's vectors reach beyond the last row
  int32_t i = 0;
  for (; i + kLanes <= s.out_size(); i += kLanes) store<T>(copy + i, narrow<T>(load<T>(gy + i)));
  for (; i < s.out_size(); ++i) copy[i] = narrow<T>(static_cast<T>(gy[i]));
  store<T>(copy + s.out_size(), Vector<T>{});
  return {copy, s.out_c};
}

// Elements of a kernel's row that are summed at once: where each lies from the row's window on, and for which outputs
// of a row its tap is inside x.
template <int32_t kCount>
struct Elements {
  int32_t offset[kCount];
  Range columns[kCount];

  Range common() const {
    Range both = columns[0];
    for (int32_t e = 1; e < kCount; ++e) {
      both.first = columns[e].first > both.first ? columns[e].first : both.first;
      both.last = columns[e].last < both.last ? columns[e].last : both.last;
    }
    return both;
  }
};

// The sums of kCount elements and kWidth output channels over the output rows `rows`, row by row; x begins where the
// window of output (0, 0) has the kernel's row, which may lie outside.
template <int32_t kCount, int32_t kWidth, class T>
void weight_sums(const Conv2dShape& s, const Range& rows, const Elements<kCount>& elements, const Slopes<T>& slopes,
                 const T* x, int32_t x_channels, T (&sums)[kCount][kWidth]) {
  Line<T, kWidth> sum[kCount];
  const Range common = elements.common();
  const int32_t step = s.stride_w * x_channels;
  const auto alone = [&](int32_t e, const T* in, const T* slope, int32_t first, int32_t last) {
    for (int32_t o = first; o < last; ++o) {
      sum[e].add_narrow(in[o * step + elements.offset[e]], Line<T, kWidth>::of(slope + o * slopes.row));
    }
  };
  for (int32_t oy = rows.first; oy < rows.last; ++oy) {
    const T* const in = x + oy * s.stride_h * s.in_w * x_channels;
    const T* const slope = slopes.at + oy * s.out_w * slopes.row;
    if (common.first >= common.last) {
      for (int32_t e = 0; e < kCount; ++e) alone(e, in, slope, elements.columns[e].first, elements.columns[e].last);
      continue;
    }
    for (int32_t e = 0; e < kCount; ++e) alone(e, in, slope, elements.columns[e].first, common.first);
    for (int32_t o = common.first; o < common.last; ++o) {
      const auto of_output = Line<T, kWidth>::of(slope + o * slopes.row);
      for (int32_t e = 0; e < kCount; ++e) sum[e].add_narrow(in[o * step + elements.offset[e]], of_output);
    }
    for (int32_t e = 0; e < kCount; ++e) alone(e, in, slope, common.last, elements.columns[e].last);
  }
  for (int32_t e = 0; e < kCount; ++e) sum[e].to(sums[e]);
}

// What the sums of one group and kernel row need.
template <class T>
struct Row {
  const Conv2dShape& shape;
  Range rows;
  Slopes<T> slopes;  // from the group's first output channel on
  const T* x;
  int32_t x_channels, trained_in;
  int32_t weight;  // index of the group's first output channel's at this kernel row
  int32_t apart;   // from one output channel's weights to the next
};

template <int32_t kCount, int32_t kWidth, class T, class Take>
void element_sums(const Row<T>& row, int32_t first, const Take& take) {
  const Conv2dShape& s = row.shape;
  Elements<kCount> elements;
  for (int32_t e = 0; e < kCount; ++e) {
    const int32_t kx = (first + e) / row.trained_in;
    elements.offset[e] = kx * row.x_channels + (first + e) % row.trained_in;
    elements.columns[e] = outputs_inside(kx, s.stride_w, s.pad_left, s.in_w, s.out_w);
  }
  for (int32_t o = 0; o < s.group_out(); o += kWidth) {
    const Slopes<T> slopes{row.slopes.at + o, row.slopes.row};
    const int32_t left = s.group_out() - o;
    const int32_t weight = row.weight + o * row.apart + first;
    if (kWidth > kLanes && left <= kLanes) {
      T sums[kCount][kLanes];
      weight_sums<kCount>(s, row.rows, elements, slopes, row.x, row.x_channels, sums);
      for (int32_t j = 0; j < left; ++j) {
        for (int32_t e = 0; e < kCount; ++e) take(weight + j * row.apart + e, sums[e][j]);
      }
      return;
    }
    T sums[kCount][kWidth];
    weight_sums<kCount>(s, row.rows, elements, slopes, row.x, row.x_channels, sums);
    for (int32_t j = 0; j < (left < kWidth ? left : kWidth); ++j) {
      for (int32_t e = 0; e < kCount; ++e) take(weight + j * row.apart + e, sums[e][j]);
    }
  }
}

template <class T, class Take>
void row_sums(const Row<T>& row, const Take& take) {
  const int32_t size = row.shape.kernel_w * row.trained_in;
  int32_t first = 0;
  if (row.shape.group_out() <= kLanes) {
    for (; first + kElementsAtOnce <= size; first += kElementsAtOnce)
      element_sums<kElementsAtOnce, 8>(row, first, take);
    for (; first + 5 <= size; first += 5) element_sums<5, 8>(row, first, take);
    for (; first + 3 <= size; first += 3) element_sums<3, 8>(row, first, take);
    for (; first < size; ++first) element_sums<1, 8>(row, first, take);
    return;
  }
  for (; first + 6 <= size; first += 6) element_sums<6, 16>(row, first, take);
  for (; first + 4 <= size; first += 4) element_sums<4, 16>(row, first, take);
  for (; first + 3 <= size; first += 3) element_sums<3, 16>(row, first, take);
  for (; first < size; ++first) element_sums<1, 16>(row, first, take);
}

// take(index of the weight, its sum) for each of `trained_in` input channels of each group, [out_c][kernel_h][kernel_w]
// [trained_in]: over the outputs for which the tap lies inside x, row by row.
template <class T, class Stored, class Take>
void weight_gradient(const Conv2dShape& shape, const Stored* gy, const T* x, int32_t x_channels, int32_t trained_in,
                     const Take& take) {
  if (trained_in == 0) return;
  const Slopes<T> slopes = slopes_of<T>(shape, gy);
  const int32_t kernel_row = shape.kernel_w * trained_in;
  const int32_t apart = shape.kernel_h * kernel_row;
  for (int32_t ky = 0; ky < shape.kernel_h; ++ky) {
    const Range rows = outputs_inside(ky, shape.stride_h, shape.pad_top, shape.in_h, shape.out_h);
    const T* const origin = x + ((ky - shape.pad_top) * shape.in_w - shape.pad_left) * x_channels;
    for (int32_t group = 0; group < shape.groups; ++group) {
      const int32_t out = group * shape.group_out();
      row_sums(Row<T>{shape,
                      rows,
                      {slopes.at + out, slopes.row},
                      origin + group * shape.group_in(),
                      x_channels,
                      trained_in,
                      out * apart + ky * kernel_row,
                      apart},
               take);
    }
  }
}

}  // namespace ftte::host
