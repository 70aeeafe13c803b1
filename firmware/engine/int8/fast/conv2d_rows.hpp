// conv2d on cores without the DSP extension: where the rows of x are that the inner loops read.
//
// A Cortex-M3 takes four positions at a time (byte_blocks.hpp), from x itself where windows lie in one piece, else
// from windows gathered side by side in scratch. A Cortex-M0 packs two positions into words there (packed_rows.hpp).
// Positions left over are computed one by one. Where no window has to be gathered and none is skipped, the positions of
// all rows are one run.
#pragma once

#include "engine/int8/fast/byte_blocks.hpp"
#include "engine/int8/fast/gather.hpp"
#include "engine/int8/fast/packed_rows.hpp"

#if defined(FTTE_BLOCKS) && !defined(FTTE_DSP)

namespace ftte::int8::fast {

// Which layers the inner loops can do.
constexpr bool has_row_blocks([[maybe_unused]] const Conv2dShape& s) {
#ifdef __thumb2__
  return true;
#else
  return s.out_c >= 4;
#endif
}

// The work of one call.
template <class Layer, int32_t kTrainedIn>
class RowConvolution {
 public:
  RowConvolution(const Conv2dShape& rows, const int8_t* x, const Weights<int8_t>& weights, const int32_t* bias,
                 int8_t* scratch, int8_t* y)
      : rows_(rows), x_(x), starts_(reinterpret_cast<Start*>(scratch)), y_(y) {
    begin(bias, Layer::kShifts, starts_, starts_ + s.out_c / 2);
    windows_ = reinterpret_cast<int8_t*>(starts_ + s.out_c / 2);
    w_[0] = kTrainedIn == 0 ? weights.frozen : weights.trained;
    w_[1] = weights.frozen;
  }

  void run() {
    if constexpr (kOneRun) {
      row(0, rows_.out_h * s.out_w);
    } else {
      for (int32_t oy = 0; oy < rows_.out_h; ++oy) row(oy, s.out_w);
    }
  }

 private:
  static constexpr Conv2dShape s = Layer::kShape;
  static constexpr int32_t kK = s.taps() * s.in_c;
  static constexpr int32_t kFirst = kTrainedIn == 0 ? kK : s.taps() * kTrainedIn;
  static constexpr int32_t kSecond = kK - kFirst;
  static constexpr bool kDirect = s.reads_directly();
  static constexpr bool kOneRun = kDirect && s.stride_h == 1 && s.stride_w == 1;

  // The window of a position: in x, or gathered to `to`.
  const int8_t* window(int32_t oy, int32_t ox, int8_t* to) const {
    const int32_t top = oy * s.stride_h - rows_.pad_top;
    const int32_t left = ox * s.stride_w - s.pad_left;
    if constexpr (kDirect) return x_ + (top * s.in_w + left) * s.in_c;
    gather<Layer>(rows_.in_h, top, left, x_, to);
    return to;
  }

#ifdef __thumb2__
  static constexpr int32_t kPositions = 4;
  static constexpr int32_t kStep = kDirect ? s.stride_w * s.in_c : kK;
  static constexpr int32_t kChannels = s.out_c % 8 == 0 ? 8 : s.out_c % 4 == 0 ? 4 : 2;

  // `length` positions from the first of row oy on.
  [[gnu::always_inline]] void row(int32_t oy, int32_t length) {
    int32_t ox = 0;
    if constexpr (kOneRun ? s.positions() >= kPositions : s.out_w >= kPositions) {
      for (; ox + kPositions <= length; ox += kPositions) {
        const int8_t* const x = window(oy, ox, windows_);
        for (int32_t p = 1; !kDirect && p < kPositions; ++p) window(oy, ox + p, windows_ + p * kStep);
        multiply<2, kPositions>(x);
      }
    }
    if constexpr (s.out_w % kPositions != 0) {
      for (; ox < length; ++ox) multiply<kChannels, 1>(window(oy, ox, windows_));
    }
  }

  template <int32_t kBlock, int32_t kCount>
  void multiply(const int8_t* x) {
    multiply_rows<kFirst, kSecond, kCount == 1 ? 0 : kStep, s.out_c, kBlock, kCount, Layer::kRange.low,
                  Layer::kRange.high>({x, {w_[0], w_[1]}, starts_, starts_ + s.out_c / 2, y_});
    y_ += kCount * s.out_c;
  }
#else
  // Of two positions, the second's window is gathered to the end of the words, which are written from their start on.
  [[gnu::always_inline]] void row(int32_t oy, int32_t length) {
    auto* const packed = reinterpret_cast<uint32_t*>(windows_ + (kDirect ? 0 : whole_words(kK)));
    PackedRows p{packed, nullptr, {w_[0], w_[1]}, {kFirst, kSecond}, starts_, starts_ + s.out_c / 2,
                 y_,     s.out_c, Layer::kRange};
    int32_t ox = 0;
    for (; ox + 2 <= length; ox += 2, p.y += 2 * s.out_c) {
      const int8_t* const first = window(oy, ox, windows_);
      const int8_t* const second = window(oy, ox + 1, reinterpret_cast<int8_t*>(packed) + 3 * kK);
      uint32_t* const end = pack_rows(first, second, kFirst, packed);
      if constexpr (kSecond != 0) pack_rows(first + kFirst, second + kFirst, kSecond, end);
      multiply_packed(p);
    }
    if constexpr (s.out_w % 2 != 0) {
      for (; ox < length; ++ox, p.y += s.out_c) {
        p.x = window(oy, ox, windows_);
        multiply_row(p);
      }
    }
    y_ = p.y;
  }
#endif

  const Conv2dShape& rows_;
  const int8_t* x_;
  Start* starts_;
  int8_t* windows_;
  const int8_t* w_[2];
  int8_t* y_;
};

}  // namespace ftte::int8::fast

#endif
