// depthwise2d (engine/int8/depthwise2d.hpp: shapes, numbers) for one layer of a program, whose shape and tables are
// constants: the same bits in fewer instructions.
//
// With the DSP extension, where the channels of each part are a multiple of four: the taps inside x are listed, as the
// place of a row of x from the window's corner on and a row of weights, anew only where other taps are inside than at
// the position before; then four channels at a time walk the list: a word of each, SXTB16 makes pairs of channels of
// it, SMLABB and SMLATT multiply them, 11 instructions for four products. Other cores as the general kernel.
#pragma once

#include "engine/int8/depthwise2d.hpp"
#include "engine/int8/fast/dsp.hpp"
#include "engine/int8/fixed.hpp"
#include "engine/window.hpp"

namespace ftte::int8::fast {

#ifdef FTTE_DSP

// What four neighbouring channels begin with, and their shifts, a byte each.
struct Start4 {
  int32_t sum[4];
  uint32_t shifts;
};

// A tap inside x: where its row of channels is from the window's corner on, and the row of weights.
struct InTap {
  int32_t x;
  const int8_t* w;
};

// Channels [0, 4 * (start_end - start)) at one position; at least one tap. x: the window's corner, which may lie
// outside. above: 255 - high in each byte.
struct InTaps {
  const InTap *taps, *end;
  const int8_t* x;
  const Start4 *start, *start_end;
  int8_t* y;
  uint32_t above;
};

// kRelu: clipped to [0, 127], else [-128, 127]; kCap: to 255 - above too.
template <bool kRelu, bool kCap>
void multiply_taps(InTaps p);

extern template void multiply_taps<false, false>(InTaps);
extern template void multiply_taps<true, false>(InTaps);
extern template void multiply_taps<true, true>(InTaps);

// The work of one call. taps_inside() of an output row and column say which taps are listed.
template <class Layer, int32_t kTrainedIn>
class Depthwise {
 public:
  Depthwise(const Conv2dShape& rows, const int8_t* x, const Weights<int8_t>& weights, const int32_t* bias,
            int8_t* scratch, int8_t* y)
      : rows_(rows), x_(x), weights_(weights), y_(y) {
    starts_ = reinterpret_cast<Start4*>(scratch);
    taps_ = reinterpret_cast<InTap*>(starts_ + s.out_c / 4);
    begin(bias, starts_);
  }

  void run() {
    for (int32_t oy = 0; oy < rows_.out_h; ++oy) {
      const int32_t top = oy * s.stride_h - rows_.pad_top;
      const auto inside = taps_inside(top, s.kernel_h, rows_.in_h);
      for (int32_t ox = 0; ox < s.out_w; ++ox, y_ += s.out_c) {
        const int32_t left = ox * s.stride_w - s.pad_left;
        const auto columns = taps_inside(left, s.kernel_w, s.in_w);
        const int32_t corner = (top * s.in_w + left) * s.in_c;
        const bool others = inside.first != rows_listed_.first || inside.last != rows_listed_.last ||
                            columns.first != columns_listed_.first || columns.last != columns_listed_.last;
        rows_listed_ = inside;
        columns_listed_ = columns;
        // With two parts, the list is the other part's.
        constexpr bool kTwoParts = kTrainedIn != 0 && kTrainedIn != s.out_c;
        part(others || kTwoParts, corner, weights_.trained, 0, kTrainedIn);
        part(others || kTwoParts, corner, weights_.frozen, kTrainedIn, s.out_c);
      }
    }
  }

 private:
  static constexpr Conv2dShape s = Layer::kShape;
  static constexpr bool kRelu = Layer::kRange.low == 0;
  static constexpr bool kCap = Layer::kRange.high != 127;
  static_assert(kRelu || (Layer::kRange.low == -128 && !kCap));

  static void begin(const int32_t* bias, Start4* starts) {
    const int8_t* shift = Layer::kShifts;
    for (const Start4* const end = starts + s.out_c / 4; starts != end; ++starts) {
      starts->shifts = 0;
      for (int32_t j = 0; j < 4; ++j, ++bias, ++shift) {
        starts->sum[j] = bias_in_sum(*bias) + ((1 << *shift) >> 1);
        starts->shifts |= static_cast<uint32_t>(*shift) << (8 * j);
      }
    }
  }

  // The taps of weights that lie together, for `channels`.
  void list(const int8_t* weights, int32_t channels) {
    end_ = taps_;
    for (int32_t ky = rows_listed_.first; ky < rows_listed_.last; ++ky) {
      int32_t x = (ky * s.in_w + columns_listed_.first) * s.in_c;
      const int8_t* w = weights + (ky * s.kernel_w + columns_listed_.first) * channels;
      for (int32_t kx = columns_listed_.first; kx < columns_listed_.last; ++kx, x += s.in_c, w += channels) {
        *end_++ = {x, w};
      }
    }
  }

  // Channels [first, last), whose weights lie together, at the position whose window begins `corner` elements into x.
  [[gnu::always_inline]] void part(bool others, int32_t corner, const int8_t* weights, int32_t first, int32_t last) {
    if (first == last) return;
    if (others) list(weights, last - first);
    constexpr uint32_t kAbove = 0x01010101U * static_cast<uint8_t>(255 - Layer::kRange.high);
    multiply_taps<kRelu, kCap>(
        {taps_, end_, x_ + corner + first, starts_ + first / 4, starts_ + last / 4, y_ + first, kAbove});
  }

  const Conv2dShape& rows_;
  const int8_t* x_;
  const Weights<int8_t>& weights_;
  int8_t* y_;
  Start4* starts_;
  InTap* taps_;
  InTap* end_ = nullptr;
  ftte::Range rows_listed_{0, 0}, columns_listed_{0, 0};
};

#endif

constexpr bool is_fast_depthwise2d(const Conv2dShape& s, int32_t trained_in) {
  // A window that lies outside of x altogether would have no tap.
  const bool meets = s.pad_top < s.kernel_h && s.pad_left < s.kernel_w;
  return meets && s.in_c % 4 == 0 && trained_in % 4 == 0;
}

// Layer: kShape, kShifts, kRange. kTrainedIn: weights.trained_in. rows: kShape, or with fewer rows (rows.hpp). scratch:
// 4-byte aligned, of the size that bench/compiler/differentiate.py gives (depthwise_scratch). Never inlined: a
// program's calls are counted one by one (bench/compiler/marks.py). On an M4: 3 instructions a product of a tap inside,
// 6 an output.
template <class Layer, int32_t kTrainedIn>
[[gnu::noinline]] void depthwise2d(const Conv2dShape& rows, const int8_t* x, const Weights<int8_t>& weights,
                                   const int32_t* bias, [[maybe_unused]] int8_t* scratch, int8_t* y) {
#ifdef FTTE_DSP
  if constexpr (is_fast_depthwise2d(Layer::kShape, kTrainedIn)) {
    Depthwise<Layer, kTrainedIn>(rows, x, weights, bias, scratch, y).run();
    return;
  }
#endif
  int8::depthwise2d(rows, x, weights, bias, Layer::kShifts, Layer::kRange, y);
}

}  // namespace ftte::int8::fast
