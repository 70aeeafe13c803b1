// conv2d (engine/int8/conv2d.hpp: shapes, numbers, cost of the general case) for one layer of a program, whose shape
// and tables are constants: the same bits in fewer instructions.
//
// With the DSP extension: what lies under the window of two neighbouring positions is widened to int16 columns in
// scratch, which all channels then share (columns.hpp). On a Cortex-M3 and M0, rows of bytes (conv2d_rows.hpp). Layers
// with groups, with an odd number of channels, or of which some input channels train while the kernel has several taps,
// and the host, take the general kernel.
#pragma once

#include "engine/int8/conv2d.hpp"
#include "engine/int8/fast/columns.hpp"
#include "engine/int8/fast/conv2d_rows.hpp"
#include "engine/int8/fast/gather.hpp"

namespace ftte::int8::fast {

#ifdef FTTE_BLOCKS
constexpr bool is_fast_conv2d(const Conv2dShape& s, int32_t trained_in) {
  const bool one_part = trained_in == 0 || trained_in == s.in_c;
  const int32_t k = s.taps() * s.in_c;
  return s.groups == 1 && s.out_c % 2 == 0 && s.out_c < 4096 && k >= 2 && k < 4096 &&
         (one_part || (s.reads_directly() && s.taps() == 1));
}
#endif

#ifdef FTTE_DSP

// Widens k bytes to a column, of which each word of four takes two of every `kStep` words; zeros behind them. Reads
// whole words, so up to three bytes behind the k.
template <int32_t kStep>
[[gnu::always_inline]] inline uint32_t* widen(const int8_t* from, int32_t k, uint32_t* to) {
  for (; k >= 4; k -= 4, from += 4, to += kStep) {
    const uint32_t word = read32(from);
    to[0] = sxtb16(word);
    to[1] = sxtb16_ror8(word);
  }
  if (k > 0) {
    const uint32_t word = read32(from) & ((1U << (8 * k)) - 1U);
    to[0] = sxtb16(word);
    to[1] = sxtb16_ror8(word);
    to += kStep;
  }
  return to;
}

// The work of one call, in the order of its steps.
template <class Layer, int32_t kTrainedIn>
class Convolution {
 public:
  Convolution(const Conv2dShape& rows, const int8_t* x, const Weights<int8_t>& weights, const int32_t* bias,
              int8_t* scratch, int8_t* y)
      : rows_(rows), x_(x), window_(reinterpret_cast<int8_t*>(scratch)) {
    auto* const starts = reinterpret_cast<Start*>(scratch + (s.reads_directly() ? 0 : whole_words(kK)));
    columns_ = reinterpret_cast<uint32_t*>(starts + s.out_c / 2);
    begin(bias, Layer::kShifts, starts, starts + s.out_c / 2);
    p_.x = columns_;
    p_.start = starts;
    p_.start_end = starts + s.out_c / 2;
    p_.w[0] = kTrainedIn == 0 ? weights.frozen : weights.trained;
    p_.w[1] = weights.frozen;
    p_.y = y;
    p_.above = 0x01010101U * static_cast<uint8_t>(255 - kHigh);
  }

  void run() {
    for (int32_t oy = 0; oy < rows_.out_h; ++oy) {
      int32_t ox = 0;
      for (; ox + 2 <= s.out_w; ox += 2) two(oy, ox);
      if constexpr (s.out_w % 2 != 0) one(oy, ox);
    }
  }

 private:
  static constexpr Conv2dShape s = Layer::kShape;
  static constexpr int32_t kK = s.taps() * s.in_c;
  static constexpr int32_t kFirst = kTrainedIn == 0 ? kK : s.taps() * kTrainedIn;
  static constexpr int32_t kSecond = kK - kFirst;
  static constexpr bool kRelu = Layer::kRange.low == 0;
  static constexpr int32_t kHigh = Layer::kRange.high;
  static constexpr bool kCap = kHigh != 127;
  static_assert(kRelu || (Layer::kRange.low == -128 && !kCap));

  // Writes the column of one position, from `to` on, and returns where the first part ends and the second.
  template <int32_t kStep>
  void column(int32_t oy, int32_t ox, uint32_t* to) {
    const int32_t row = oy * s.stride_h - rows_.pad_top;
    const int32_t left = ox * s.stride_w - s.pad_left;
    const int8_t* from = x_ + (row * s.in_w + left) * s.in_c;
    if constexpr (!s.reads_directly()) {
      gather<Layer>(rows_.in_h, row, left, x_, window_);
      from = window_;
    }
    to = widen<kStep>(from, kFirst, to);
    if constexpr (kSecond != 0) widen<kStep>(from + kFirst, kSecond, to);
  }

  void two(int32_t oy, int32_t ox) {
    column<4>(oy, ox, columns_);
    column<4>(oy, ox + 1, columns_ + 2);
    p_.x_end[0] = columns_ + whole_words(kFirst);
    p_.x_end[1] = p_.x_end[0] + whole_words(kSecond);
    multiply_two_columns<kFirst, kSecond, s.out_c, kRelu, kCap>(p_);
    p_.y += 2 * s.out_c;
  }

  void one(int32_t oy, int32_t ox) {
    column<2>(oy, ox, columns_);
    p_.x_end[0] = columns_ + whole_words(kFirst) / 2;
    p_.x_end[1] = p_.x_end[0] + whole_words(kSecond) / 2;
    multiply_column<kFirst, kSecond, s.out_c, kRelu, kCap>(p_);
    p_.y += s.out_c;
  }

  const Conv2dShape& rows_;
  const int8_t* x_;
  int8_t* window_;
  uint32_t* columns_;
  Columns p_{};
};

#endif

// Layer: kShape, kShifts, kRange. kTrainedIn: weights.trained_in. rows: kShape, or with fewer rows (rows.hpp). scratch:
// 4-byte aligned, of the size that bench/compiler/differentiate.py gives (conv_scratch). Never inlined: a program's
// calls are counted one by one (bench/compiler/marks.py).
// On an M4: 0.94 instructions a product at two positions, 1.38 at one, and 11 an output; 4 to 6 an element of a window.
// On an M3: 1.9 at four positions, 2.2 to 2.8 at one. On an M0: 3 at two positions, 3.6 at one, and 15 an output.
template <class Layer, int32_t kTrainedIn>
[[gnu::noinline]] void conv2d(const Conv2dShape& rows, const int8_t* x, const Weights<int8_t>& weights,
                              const int32_t* bias, int8_t* scratch, int8_t* y) {
#ifdef FTTE_DSP
  if constexpr (is_fast_conv2d(Layer::kShape, kTrainedIn)) {
    Convolution<Layer, kTrainedIn>(rows, x, weights, bias, scratch, y).run();
    return;
  }
#elif defined(FTTE_BLOCKS)
  if constexpr (is_fast_conv2d(Layer::kShape, kTrainedIn) && has_row_blocks(Layer::kShape)) {
    RowConvolution<Layer, kTrainedIn>(rows, x, weights, bias, scratch, y).run();
    return;
  }
#endif
  int8::conv2d(rows, x, weights, bias, Layer::kShifts, Layer::kRange, scratch, y);
}

}  // namespace ftte::int8::fast
