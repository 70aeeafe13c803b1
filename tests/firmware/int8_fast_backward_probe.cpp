// The int8 kernels that are made for one layer, and the general ones beside them, under plain C names: for layers
// listed here, as their shapes are template arguments. `fast` 0 calls the general kernel.
#include <cstdint>

#include "engine/int8/fast/conv2d_input_gradient.hpp"
#include "engine/int8/fast/depthwise2d_input_gradient.hpp"

using namespace ftte;
using int8::Sgd;

namespace {

// Of any layer: up to its limit of 7, neighbours that differ.
constexpr int8_t kLifts[] = {
#define EIGHT 0, 7, 1, 6, 2, 5, 3, 4, 7, 7, 0, 0, 5, 1, 3, 2,
#define SIXTY_FOUR EIGHT EIGHT EIGHT EIGHT
    SIXTY_FOUR SIXTY_FOUR SIXTY_FOUR SIXTY_FOUR SIXTY_FOUR SIXTY_FOUR SIXTY_FOUR SIXTY_FOUR SIXTY_FOUR};

struct Case {
  Conv2dShape shape;
  int32_t trained_in;
};

constexpr Case kConvs[] = {
    // 1x1: all frozen, all trained, parts that begin in the middle of a block, positions that fill no block
    {{4, 4, 96, 4, 4, 32, 1, 1, 1, 1, 0, 0, 1}, 0},
    {{2, 4, 32, 2, 4, 24, 1, 1, 1, 1, 0, 0, 1}, 32},
    {{3, 3, 48, 3, 3, 20, 1, 1, 1, 1, 0, 0, 1}, 12},
    {{1, 2, 4, 1, 2, 2, 1, 1, 1, 1, 0, 0, 1}, 2},
    {{2, 3, 36, 2, 3, 10, 1, 1, 1, 1, 0, 0, 1}, 34},
    {{1, 7, 700, 1, 7, 8, 1, 1, 1, 1, 0, 0, 1}, 0},
    {{1, 3, 1400, 1, 3, 4, 1, 1, 1, 1, 0, 0, 1}, 0},
    // general: an odd number of outputs or of channels, a stride
    {{3, 3, 8, 3, 3, 7, 1, 1, 1, 1, 0, 0, 1}, 3},
    {{4, 4, 6, 2, 2, 8, 1, 1, 2, 2, 0, 0, 1}, 0},
    {{8, 8, 64, 8, 8, 64, 1, 1, 1, 1, 0, 0, 1}, 0},
};

constexpr Case kDepthwise[] = {
    // padding, strides that differ, parts, inputs that no tap reaches, more channels than a block
    {{6, 5, 44, 6, 5, 44, 3, 3, 1, 1, 1, 1, 44}, 8},
    {{8, 8, 16, 4, 4, 16, 7, 7, 2, 2, 3, 3, 16}, 0},
    {{5, 4, 4, 5, 4, 4, 5, 5, 1, 1, 2, 2, 4}, 4},
    {{7, 5, 8, 3, 2, 8, 2, 1, 2, 2, 0, 0, 8}, 4},
    {{3, 3, 68, 3, 3, 68, 3, 3, 1, 1, 1, 1, 68}, 36},
    {{3, 3, 7, 3, 3, 7, 3, 3, 1, 1, 1, 1, 7}, 2},  // general: an odd number of channels
};

template <int32_t kCase>
struct Conv {
  static constexpr Conv2dShape kShape = kConvs[kCase].shape;
  static constexpr int32_t kExponent = 6;
  static constexpr const int8_t* kLift = kLifts;
};

template <int32_t kCase>
struct Depthwise {
  static constexpr Conv2dShape kShape = kDepthwise[kCase].shape;
  static constexpr int32_t kExponent = 6;
  static constexpr const int8_t* kLift = kLifts;
};

struct Gradient {
  Sgd& sgd;
  const int8_t* gy;
  int32_t gy_exponent;
  Weights<int8_t> weights;
  const uint8_t* gate;
  uint32_t* peak;
  void* scratch;
  int8_t* gx;
};

template <int32_t kCase = 0>
int32_t conv_gradient(int32_t number, bool fast, const Gradient& g) {
  if constexpr (kCase < sizeof kConvs / sizeof *kConvs) {
    if (number != kCase) return conv_gradient<kCase + 1>(number, fast, g);
    using Layer = Conv<kCase>;
    if (fast) {
      return int8::fast::conv2d_input_gradient<Layer, kConvs[kCase].trained_in>(g.sgd, g.gy, g.gy_exponent, g.weights,
                                                                                g.gate, g.peak, g.scratch, g.gx);
    }
    return int8::conv2d_input_gradient(g.sgd, Layer::kShape, g.gy, g.gy_exponent, g.weights, Layer::kLift,
                                       Layer::kExponent, g.gate, g.peak, g.gx);
  }
  return 0;
}

template <int32_t kCase = 0>
int32_t depthwise_gradient(int32_t number, bool fast, const Gradient& g) {
  if constexpr (kCase < sizeof kDepthwise / sizeof *kDepthwise) {
    if (number != kCase) return depthwise_gradient<kCase + 1>(number, fast, g);
    using Layer = Depthwise<kCase>;
    if (fast) {
      return int8::fast::depthwise2d_input_gradient<Layer, kDepthwise[kCase].trained_in>(
          g.sgd, g.gy, g.gy_exponent, g.weights, g.gate, g.peak, g.scratch, g.gx);
    }
    return int8::depthwise2d_input_gradient(g.sgd, Layer::kShape, g.gy, g.gy_exponent, g.weights, Layer::kLift,
                                            Layer::kExponent, g.gate, g.peak, g.gx);
  }
  return 0;
}

template <int32_t kCount>
int32_t describe(const Case (&cases)[kCount], int32_t number, int32_t* fields) {
  const auto& [s, trained_in] = cases[number];
  const int32_t all[] = {s.in_h,     s.in_w,     s.in_c,     s.out_h,   s.out_w,    s.out_c,  s.kernel_h,
                         s.kernel_w, s.stride_h, s.stride_w, s.pad_top, s.pad_left, s.groups, trained_in};
  for (int32_t i = 0; i < 14; ++i) fields[i] = all[i];
  return kCount;
}

}  // namespace

extern "C" {

// Fields of a case's shape, and trained_in. Return how many cases there are.
int32_t conv_case(int32_t number, int32_t* fields) { return describe(kConvs, number, fields); }
int32_t depthwise_case(int32_t number, int32_t* fields) { return describe(kDepthwise, number, fields); }

int32_t conv2d_input_gradient(int32_t number, int32_t fast, Sgd* sgd, const int8_t* gy, int32_t gy_exponent,
                              const int8_t* trained, const int8_t* frozen, const uint8_t* gate, uint32_t* peak,
                              void* scratch, int8_t* gx) {
  return conv_gradient(number, fast != 0,
                       {*sgd, gy, gy_exponent, {trained, frozen, kConvs[number].trained_in}, gate, peak, scratch, gx});
}

int32_t depthwise2d_input_gradient(int32_t number, int32_t fast, Sgd* sgd, const int8_t* gy, int32_t gy_exponent,
                                   const int8_t* trained, const int8_t* frozen, const uint8_t* gate, uint32_t* peak,
                                   void* scratch, int8_t* gx) {
  return depthwise_gradient(
      number, fast != 0,
      {*sgd, gy, gy_exponent, {trained, frozen, kDepthwise[number].trained_in}, gate, peak, scratch, gx});
}

}  // extern "C"
