// The int8 forward kernels that are made for one layer, and the general ones beside them, under plain C names: for the
// layers listed here, as their shapes are template arguments. `fast` 0 calls the general kernel.
#include <cstdint>

#include "engine/fused/rows.hpp"
#include "engine/int8/fast/conv2d.hpp"
#include "engine/int8/fast/depthwise2d.hpp"

using namespace ftte;

namespace {

// Of any layer: neighbours that differ, up to the limit of 30.
constexpr int8_t kShifts[] = {
#define SIXTEEN 0, 7, 1, 6, 9, 5, 30, 4, 7, 11, 13, 8, 5, 1, 3, 2,
#define SIXTY_FOUR SIXTEEN SIXTEEN SIXTEEN SIXTEEN
    SIXTY_FOUR SIXTY_FOUR SIXTY_FOUR SIXTY_FOUR};

constexpr int8::Range kRanges[] = {{-128, 127}, {0, 127}, {0, 96}};

struct Case {
  Conv2dShape shape;
  int32_t trained_in;
  int32_t range;  // index in kRanges
};

constexpr Case kConvs[] = {
    // 1x1: all frozen, all trained, parts, k of no whole words, one column left over, a stride
    {{4, 4, 64, 4, 4, 32, 1, 1, 1, 1, 0, 0, 1}, 0, 1},
    {{2, 4, 32, 2, 4, 24, 1, 1, 1, 1, 0, 0, 1}, 32, 0},
    {{3, 3, 48, 3, 3, 20, 1, 1, 1, 1, 0, 0, 1}, 12, 2},
    {{2, 3, 37, 2, 3, 6, 1, 1, 1, 1, 0, 0, 1}, 5, 1},
    {{5, 6, 10, 3, 3, 4, 1, 1, 2, 2, 0, 0, 1}, 0, 2},
    {{1, 2, 2, 1, 2, 2, 1, 1, 1, 1, 0, 0, 1}, 0, 0},
    {{1, 2, 3, 1, 2, 2, 1, 1, 1, 1, 0, 0, 1}, 1, 0},
    {{1, 5, 700, 1, 5, 8, 1, 1, 1, 1, 0, 0, 1}, 300, 1},
    // larger kernels: padding on all sides, strides, three channels, 5x5, 2x3, 1-D
    {{6, 8, 16, 6, 8, 16, 3, 3, 1, 1, 1, 1, 1}, 0, 1},
    {{9, 8, 3, 5, 4, 16, 3, 3, 2, 2, 1, 1, 1}, 3, 2},
    {{5, 7, 1, 5, 7, 6, 5, 5, 1, 1, 2, 2, 1}, 0, 0},
    {{7, 10, 4, 3, 3, 8, 5, 2, 2, 3, 1, 0, 1}, 4, 1},
    {{1, 12, 5, 1, 10, 4, 1, 3, 1, 1, 0, 0, 1}, 0, 2},
    {{3, 3, 6, 3, 3, 4, 7, 7, 1, 1, 3, 3, 1}, 0, 0},
    // a kernel that covers its input: fully connected
    {{4, 4, 16, 1, 1, 64, 4, 4, 1, 1, 0, 0, 1}, 0, 1},
    {{1, 1, 256, 1, 1, 10, 1, 1, 1, 1, 0, 0, 1}, 256, 0},
    {{2, 3, 8, 1, 1, 6, 2, 3, 1, 1, 0, 0, 1}, 8, 2},
    // general: an odd number of channels, groups, parts of a larger kernel
    {{3, 3, 8, 3, 3, 7, 1, 1, 1, 1, 0, 0, 1}, 3, 1},
    {{5, 5, 8, 5, 5, 4, 3, 3, 1, 1, 1, 1, 2}, 0, 0},
    {{4, 4, 6, 4, 4, 4, 3, 3, 1, 1, 1, 1, 1}, 2, 2},
};

constexpr Case kDepthwise[] = {
    // padding, strides that differ, parts, more taps than the map has, one tap
    {{6, 5, 44, 6, 5, 44, 3, 3, 1, 1, 1, 1, 44}, 8, 1},  {{8, 8, 16, 4, 4, 16, 7, 7, 2, 2, 3, 3, 16}, 0, 2},
    {{4, 4, 4, 4, 4, 4, 5, 5, 1, 1, 2, 2, 4}, 4, 0},     {{7, 5, 8, 3, 2, 8, 2, 1, 2, 2, 0, 0, 8}, 4, 1},
    {{3, 3, 68, 3, 3, 68, 1, 1, 1, 1, 0, 0, 68}, 36, 2}, {{1, 9, 12, 1, 9, 12, 1, 3, 1, 1, 0, 1, 12}, 0, 0},
    {{3, 3, 7, 3, 3, 7, 3, 3, 1, 1, 1, 1, 7}, 2, 1},  // general: an odd number of channels
};

template <int32_t kCase>
struct Conv {
  static constexpr Conv2dShape kShape = kConvs[kCase].shape;
  static constexpr const int8_t* kShifts = ::kShifts;
  static constexpr int8::Range kRange = kRanges[kConvs[kCase].range];
};

template <int32_t kCase>
struct Depthwise {
  static constexpr Conv2dShape kShape = kDepthwise[kCase].shape;
  static constexpr const int8_t* kShifts = ::kShifts;
  static constexpr int8::Range kRange = kRanges[kDepthwise[kCase].range];
};

struct Arguments {
  Conv2dShape rows;
  const int8_t* x;
  Weights<int8_t> weights;
  const int32_t* bias;
  int8_t *scratch, *y;
};

// For one output row, as a chain of operators asks for it; for all with row -1.
Arguments of_row(const Case& c, int32_t row, Arguments whole) {
  whole.rows = c.shape;
  if (row < 0) return whole;
  const auto rows = strip(c.shape, row);
  whole.rows = rows.shape;
  whole.x += rows.first * c.shape.in_w * c.shape.in_c;
  return whole;
}

template <int32_t kCase = 0>
void convolve(int32_t number, bool fast, const Arguments& a) {
  if constexpr (kCase < sizeof kConvs / sizeof *kConvs) {
    if (number != kCase) return convolve<kCase + 1>(number, fast, a);
    using Of = Conv<kCase>;
    if (fast) {
      int8::fast::conv2d<Of, kConvs[kCase].trained_in>(a.rows, a.x, a.weights, a.bias, a.scratch, a.y);
    } else {
      int8::conv2d(a.rows, a.x, a.weights, a.bias, Of::kShifts, Of::kRange, a.scratch, a.y);
    }
  }
}

template <int32_t kCase = 0>
void convolve_depthwise(int32_t number, bool fast, const Arguments& a) {
  if constexpr (kCase < sizeof kDepthwise / sizeof *kDepthwise) {
    if (number != kCase) return convolve_depthwise<kCase + 1>(number, fast, a);
    using Of = Depthwise<kCase>;
    if (fast) {
      int8::fast::depthwise2d<Of, kDepthwise[kCase].trained_in>(a.rows, a.x, a.weights, a.bias, a.scratch, a.y);
    } else {
      int8::depthwise2d(a.rows, a.x, a.weights, a.bias, Of::kShifts, Of::kRange, a.y);
    }
  }
}

template <int32_t kCount>
int32_t describe(const Case (&cases)[kCount], int32_t number, int32_t* fields) {
  const auto& [s, trained_in, range] = cases[number];
  const int32_t all[] = {s.in_h,     s.in_w,     s.in_c,    s.out_h,    s.out_w,  s.out_c,    s.kernel_h, s.kernel_w,
                         s.stride_h, s.stride_w, s.pad_top, s.pad_left, s.groups, trained_in, range};
  for (int32_t i = 0; i < 15; ++i) fields[i] = all[i];
  return kCount;
}

}  // namespace

extern "C" {

int32_t conv2d_case(int32_t number, int32_t* fields) { return describe(kConvs, number, fields); }
int32_t depthwise2d_case(int32_t number, int32_t* fields) { return describe(kDepthwise, number, fields); }

void conv2d(int32_t number, int32_t fast, int32_t row, const int8_t* x, const int8_t* trained, const int8_t* frozen,
            const int32_t* bias, int8_t* scratch, int8_t* y) {
  const Case& c = kConvs[number];
  convolve(number, fast != 0, of_row(c, row, {{}, x, {trained, frozen, c.trained_in}, bias, scratch, y}));
}

void depthwise2d(int32_t number, int32_t fast, int32_t row, const int8_t* x, const int8_t* trained,
                 const int8_t* frozen, const int32_t* bias, int8_t* scratch, int8_t* y) {
  const Case& c = kDepthwise[number];
  convolve_depthwise(number, fast != 0, of_row(c, row, {{}, x, {trained, frozen, c.trained_in}, bias, scratch, y}));
}

}  // extern "C"
