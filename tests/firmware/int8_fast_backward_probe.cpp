// The int8 kernels that are made for one layer, and the general ones beside them, under plain C names: for layers
// listed here, as their shapes are template arguments. `fast` 0 calls the general kernel.
#include <cstdint>

#include "engine/int8/fast/add.hpp"
#include "engine/int8/fast/add_gradients.hpp"
#include "engine/int8/fast/avg_pool_gradient.hpp"
#include "engine/int8/fast/conv2d_input_gradient.hpp"
#include "engine/int8/fast/conv2d_update.hpp"
#include "engine/int8/fast/depthwise2d_input_gradient.hpp"
#include "engine/int8/fast/pack_gate.hpp"
#include "engine/int8/fast/update_bias.hpp"

using namespace ftte;
using int8::Sgd;

namespace {

// Of any layer: up to its limit of 7, neighbours that differ.
constexpr int8_t kLifts[] = {
#define SIXTEEN 0, 7, 1, 6, 2, 5, 3, 4, 7, 7, 0, 0, 5, 1, 3, 2,
#define SIXTY_FOUR SIXTEEN SIXTEEN SIXTEEN SIXTEEN
    SIXTY_FOUR SIXTY_FOUR SIXTY_FOUR SIXTY_FOUR SIXTY_FOUR SIXTY_FOUR SIXTY_FOUR SIXTY_FOUR SIXTY_FOUR SIXTY_FOUR
        SIXTY_FOUR SIXTY_FOUR SIXTY_FOUR SIXTY_FOUR SIXTY_FOUR};

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
    // larger kernels: padding, rows that fill no block, strides with taps that no output has, parts, 5x5 and 2x3
    {{6, 8, 16, 6, 8, 16, 3, 3, 1, 1, 1, 1, 1}, 0},
    {{5, 7, 36, 5, 7, 6, 3, 3, 1, 1, 1, 1, 1}, 10},
    {{9, 8, 8, 5, 4, 4, 3, 3, 2, 2, 1, 1, 1}, 8},
    {{7, 10, 4, 3, 3, 8, 5, 2, 2, 3, 1, 0, 1}, 0},
    {{8, 8, 4, 4, 4, 16, 5, 5, 1, 1, 0, 0, 1}, 4},
    {{6, 6, 12, 3, 2, 8, 1, 1, 2, 3, 0, 0, 1}, 2},
    // channels that are no multiple of four: two alone, six, and two behind a block of 32
    {{4, 5, 2, 4, 5, 6, 3, 3, 1, 1, 1, 1, 1}, 0},
    {{14, 14, 6, 10, 10, 16, 5, 5, 1, 1, 0, 0, 1}, 6},
    {{3, 5, 34, 3, 5, 4, 1, 1, 1, 1, 0, 0, 1}, 18},
    // fully connected: all frozen, all trained
    {{5, 5, 8, 1, 1, 12, 5, 5, 1, 1, 0, 0, 1}, 0},
    {{1, 1, 40, 1, 1, 10, 1, 1, 1, 1, 0, 0, 1}, 40},
    // general: an odd number of outputs or of channels,     {{3, 3, 8, 3, 3, 7, 1, 1, 1, 1, 0, 0, 1}, 3},
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

// trained_in; x has all channels, or in the cases with odd numbers only those.
constexpr Case kUpdates[] = {
    {{4, 4, 12, 4, 4, 40, 1, 1, 1, 1, 0, 0, 1}, 8},    // one tap, four channels a time
    {{5, 5, 6, 5, 5, 34, 3, 3, 1, 1, 1, 1, 1}, 6},     // an odd number of positions, columns of two taps
    {{7, 8, 3, 4, 4, 16, 3, 3, 2, 2, 1, 1, 1}, 3},     // a stride, a last block of three columns
    {{18, 20, 5, 18, 20, 6, 3, 2, 1, 1, 1, 0, 1}, 4},  // more positions than fit at once
    {{17, 19, 1, 17, 19, 4, 5, 1, 1, 1, 2, 0, 1}, 1},  // an odd number that does not fit, a block of one column
    {{3, 3, 40, 3, 3, 900, 1, 1, 1, 1, 0, 0, 1}, 10},  // rows of gy beyond what four pairs reach
    {{4, 4, 8, 1, 1, 6, 4, 4, 1, 1, 0, 0, 1}, 8},      // fully connected
    {{2, 3, 8, 1, 1, 3, 2, 3, 1, 1, 0, 0, 1}, 4},      // and a part of the channels
    {{1, 1, 6, 1, 1, 3, 1, 1, 1, 1, 0, 0, 1}, 6},      // general: rows of no multiple of four
    {{23, 30, 8, 23, 30, 6, 1, 1, 1, 1, 0, 0, 1}, 4},  // sums that are rounded before
    {{5, 5, 8, 5, 5, 4, 3, 3, 1, 1, 1, 1, 2}, 3},      // general: groups
};
constexpr int32_t x_channels(const Case& c) {
  return c.shape.groups == 1 && c.trained_in % 2 == 1 ? c.trained_in : c.shape.in_c;
}

// Bytes of scratch of each kind; none where the general kernel is chosen.
#ifdef FTTE_BLOCKS
constexpr int32_t conv_scratch(const Case& c) {
#ifdef FTTE_DSP
  if (int8::fast::is_fast_dense(c.shape, c.trained_in)) return int8::fast::dense_scratch(c.shape);
#endif
  return int8::fast::is_fast_blocked(c.shape, c.trained_in) ? int8::fast::blocked_scratch(c.shape) : 0;
}
constexpr int32_t depthwise_scratch(const Case& c) {
  return int8::fast::is_fast_depthwise(c.shape, c.trained_in) ? int8::fast::depthwise_scratch(c.shape.taps()) : 0;
}
constexpr int32_t update_scratch(const Case& c) {
  return int8::fast::is_fast_update(c.shape, c.trained_in) ? int8::fast::update_scratch(c.shape) : 0;
}
#else
constexpr int32_t conv_scratch(const Case&) { return 0; }
constexpr int32_t depthwise_scratch(const Case&) { return 0; }
constexpr int32_t update_scratch(const Case&) { return 0; }
#endif

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

template <int32_t kCase>
struct Update {
  static constexpr Conv2dShape kShape = kUpdates[kCase].shape;
  static constexpr int32_t kExponent = 6;
  static constexpr const int8_t* kLift = kLifts;
};

template <int32_t kALeft, int32_t kBLeft, int32_t kRight, int32_t kLow, int32_t kHigh>
void sum(bool fast, int32_t n, const int8_t* a, const int8_t* b, int8_t* y) {
  if (fast) {
    int8::fast::add<kALeft, kBLeft, kRight, kLow, kHigh>(n, a, b, y);
  } else {
    int8::add(n, a, b, {kALeft, kBLeft, kRight}, {kLow, kHigh}, y);
  }
}

struct GlobalPool {
  static constexpr PoolShape kShape{4, 3, 44, 1, 1, 4, 3, 4, 3, 0, 0};
};
struct Tiles {
  static constexpr PoolShape kShape{4, 6, 8, 2, 2, 2, 3, 2, 3, 0, 0};
};
struct Overlapping {
  static constexpr PoolShape kShape{5, 5, 8, 3, 3, 3, 3, 2, 2, 1, 1};
};

template <class Layer>
int32_t pool_gradient(bool fast, Sgd& sgd, const int8_t* gy, const uint8_t* gate, uint32_t* peak, int8_t* gx) {
  if (fast) return int8::fast::avg_pool_gradient<Layer>(sgd, gy, 9, gate, peak, gx);
  return int8::avg_pool_gradient(sgd, Layer::kShape, gy, 9, gate, peak, gx);
}

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
      return int8::fast::conv2d_input_gradient<Layer, kConvs[kCase].trained_in, conv_scratch(kConvs[kCase])>(
          g.sgd, g.gy, g.gy_exponent, g.weights, g.gate, g.peak, g.scratch, g.gx);
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
      return int8::fast::depthwise2d_input_gradient<Layer, kDepthwise[kCase].trained_in,
                                                    depthwise_scratch(kDepthwise[kCase])>(
          g.sgd, g.gy, g.gy_exponent, g.weights, g.gate, g.peak, g.scratch, g.gx);
    }
    return int8::depthwise2d_input_gradient(g.sgd, Layer::kShape, g.gy, g.gy_exponent, g.weights, Layer::kLift,
                                            Layer::kExponent, g.gate, g.peak, g.gx);
  }
  return 0;
}

struct Step {
  Sgd& sgd;
  const int8_t* gy;
  int32_t gy_exponent;
  const int8_t* x;
  int8_t* values;
  void* residuals;
  void* scratch;
};

template <class Rule, int32_t kCase = 0>
void update(int32_t number, bool fast, const Step& s) {
  if constexpr (kCase < sizeof kUpdates / sizeof *kUpdates) {
    if (number != kCase) return update<Rule, kCase + 1>(number, fast, s);
    using Layer = Update<kCase>;
    constexpr int32_t kTrainedIn = kUpdates[kCase].trained_in;
    constexpr int32_t kXChannels = x_channels(kUpdates[kCase]);
    const int8::TrainedWeights<Rule> weights{s.values, static_cast<typename Rule::Residual*>(s.residuals), kTrainedIn,
                                             Layer::kLift, Layer::kExponent};
    if (fast) {
      int8::fast::conv2d_update<Rule, Layer, kTrainedIn, kXChannels, update_scratch(kUpdates[kCase])>(
          s.sgd, 3, s.gy, s.gy_exponent, s.x, 5, weights, s.scratch);
    } else {
      int8::conv2d_update<Rule>(s.sgd, 3, Layer::kShape, s.gy, s.gy_exponent, s.x, 5, kXChannels, weights);
    }
  }
}

template <int32_t kCount>
int32_t describe(const Case (&cases)[kCount], int32_t (*scratch)(const Case&), int32_t number, int32_t* fields) {
  const auto& [s, trained_in] = cases[number];
  const int32_t all[] = {s.in_h,    s.in_w,     s.in_c,     s.out_h,    s.out_w,
                         s.out_c,   s.kernel_h, s.kernel_w, s.stride_h, s.stride_w,
                         s.pad_top, s.pad_left, s.groups,   trained_in, scratch(cases[number])};
  for (int32_t i = 0; i < 15; ++i) fields[i] = all[i];
  return kCount;
}

}  // namespace

extern "C" {

// Fields of a case's shape, trained_in, bytes of scratch. Return how many cases there are.
int32_t conv_case(int32_t number, int32_t* fields) { return describe(kConvs, conv_scratch, number, fields); }
int32_t update_case(int32_t number, int32_t* fields) { return describe(kUpdates, update_scratch, number, fields); }
int32_t depthwise_case(int32_t number, int32_t* fields) {
  return describe(kDepthwise, depthwise_scratch, number, fields);
}

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

// rule: 0 compensated, 1 accumulated, 2 truncated, 3 compensated4.
int32_t conv2d_update(int32_t number, int32_t fast, Sgd* sgd, int32_t rule, const int8_t* gy, int32_t gy_exponent,
                      const int8_t* x, int8_t* values, void* residuals, void* scratch) {
  const Step step{*sgd, gy, gy_exponent, x, values, residuals, scratch};
  if (rule == 0) update<int8::Compensated>(number, fast != 0, step);
  if (rule == 1) update<int8::Accumulated>(number, fast != 0, step);
  if (rule == 2) update<int8::Truncated>(number, fast != 0, step);
  if (rule == 3) update<int8::Compensated4>(number, fast != 0, step);
  return x_channels(kUpdates[number]);
}

// number: 0 global, 1 tiles, 2 windows that overlap.
int32_t avg_pool_gradient(int32_t number, int32_t fast, Sgd* sgd, const int8_t* gy, const uint8_t* gate, uint32_t* peak,
                          int8_t* gx) {
  const auto gradient = number == 0   ? pool_gradient<GlobalPool>
                        : number == 1 ? pool_gradient<Tiles>
                                      : pool_gradient<Overlapping>;
  return gradient(fast != 0, *sgd, gy, gate, peak, gx);
}

// number: which scale and range.
int32_t add(int32_t number, int32_t fast, int32_t n, const int8_t* a, const int8_t* b, int8_t* y) {
  constexpr decltype(&sum<0, 0, 0, 0, 0>) kSums[] = {sum<1, 0, 1, -128, 127>, sum<0, 2, 2, 0, 127>,
                                                     sum<3, 0, 0, -128, 127>, sum<7, 7, 9, 0, 96>,
                                                     sum<0, 0, 7, -7, 99>,    sum<9, 0, 8, -128, 127>};
  if (number >= 0) kSums[number](fast != 0, n, a, b, y);
  return 6;
}

int32_t add_gradients(int32_t n, int32_t fast, Sgd* sgd, const int8_t* a, int32_t a_exponent, const int8_t* b,
                      int32_t b_exponent, const uint8_t* gate, uint32_t* peak, int8_t* y) {
  const auto add = fast != 0 ? int8::fast::add_gradients : int8::add_gradients;
  return add(*sgd, n, a, a_exponent, b, b_exponent, gate, peak, y);
}

int32_t pack_gate(int32_t n, int32_t fast, const int8_t* y, int32_t low, int32_t high, uint8_t* bits) {
  const auto pack = fast != 0 ? int8::fast::pack_gate : int8::pack_gate;
  pack(n, y, {static_cast<int8_t>(low), static_cast<int8_t>(high)}, bits);
  return 0;
}

int32_t update_bias(int32_t positions, int32_t fast, Sgd* sgd, int32_t channels, const int8_t* gy, int32_t gy_exponent,
                    int32_t* bias, const int8_t* lift) {
  const auto update = fast != 0 ? int8::fast::update_bias : int8::update_bias;
  update(*sgd, 3, gy, gy_exponent, positions, channels, bias, lift, 14);
  return 0;
}

}  // extern "C"
