// A small convolutional network for 14x14 grey images, trained in int8, wired by hand:
//
//   x [14, 14, 1] -> convolution 3x3, 12 channels, ReLU -> [12, 12, 12] -> max-pooling 2x2 -> [6, 6, 12]
//   -> fully connected -> [10] -> softmax cross-entropy
//
// It is sized by the smallest board, with 16 KB of RAM. The arena's map [12, 12, 12] holds in turn: the convolution's
// output; the pooled map at its beginning, the pooled map's gradient at its end and the logits between them; the
// convolution's output gradient.
#include "programs/demo_int8/program.hpp"

#include <cstring>

#include "engine/int8/conv2d.hpp"
#include "engine/int8/conv2d_update.hpp"
#include "engine/int8/dense.hpp"
#include "engine/int8/dense_input_gradient.hpp"
#include "engine/int8/dense_update.hpp"
#include "engine/int8/max_pool.hpp"
#include "engine/int8/softmax_cross_entropy.hpp"
#include "engine/program.hpp"

namespace ftte::program {
namespace {

using int8::Activation;

constexpr int32_t kClasses = 10;
constexpr Conv2dShape kConv{14, 14, 1, 12, 12, 12, 3, 3, 1, 0};
constexpr PoolShape kPool{kConv.out_h, kConv.out_w, kConv.out_c};
constexpr DenseShape kDense{kPool.out_size(), kClasses};
static_assert(kConv.valid() && kDense.valid());

// Exponents: see plan.json, which states the same, and bench/fleet/calibrate.py, which finds them.
constexpr int32_t kInputExponent = 6;
constexpr int32_t kConvExponent = 5;
constexpr int32_t kMapExponent = 5;
constexpr int32_t kDenseExponent = 7;

// Streams of random numbers.
enum : uint32_t { kConvStream, kConvBiasStream, kDenseStream, kDenseBiasStream };

// Params: int32 biases first, as they need alignment; then what is sent down, then the residuals.
struct Layout {
  static constexpr int32_t kConvBias = 0;
  static constexpr int32_t kDenseBias = kConvBias + 4 * kConv.out_c;
  static constexpr int32_t kConvWeights = kDenseBias + 4 * kDense.out;
  static constexpr int32_t kDenseWeights = kConvWeights + kConv.weights();
  static constexpr int32_t kDownBytes = kDenseWeights + kDense.weights();
  static constexpr int32_t kConvResiduals = kDownBytes;
  static constexpr int32_t kDenseResiduals = kConvResiduals + kConv.weights();
  static constexpr int32_t kBytes = kDenseResiduals + kDense.weights();
};
static_assert(Layout::kBytes == kParamsBytes);

constexpr int32_t align4(int32_t offset) { return (offset + 3) & ~3; }

struct Arena {
  static constexpr int32_t kMap = 0;
  static constexpr int32_t kLogits = align4(kMap + kPool.out_size());
  static constexpr int32_t kLogitsGradient = kLogits + 4 * kClasses;
  static constexpr int32_t kPooledGradient = kMap + kConv.out_size() - kPool.out_size();
  static constexpr int32_t kWinners = kMap + kConv.out_size();
  static constexpr int32_t kPatch = kWinners;  // needed before the winners are
  static constexpr int32_t kBytes = align4(kWinners + kPool.winner_bytes());
};
static_assert(Arena::kBytes == kArenaBytes);
static_assert(Arena::kPooledGradient >= Arena::kLogitsGradient + kClasses, "what lives together does not overlap");
static_assert(kConv.patch_size() <= kPool.winner_bytes());

// The caller aligns params and arena to 8 bytes, and the layouts above keep int32 aligned.
int32_t* words(uint8_t* bytes) { return reinterpret_cast<int32_t*>(bytes); }
const int32_t* words(const uint8_t* bytes) { return reinterpret_cast<const int32_t*>(bytes); }
int8_t* values(uint8_t* bytes) { return reinterpret_cast<int8_t*>(bytes); }
const int8_t* values(const uint8_t* bytes) { return reinterpret_cast<const int8_t*>(bytes); }

int8::LossResult forward(const uint8_t* params, uint8_t* arena, const int8_t* sample, uint8_t label,
                         int8_t* logits_gradient) {
  int8_t* map = values(arena + Arena::kMap);
  int32_t* logits = words(arena + Arena::kLogits);
  int8::conv2d(kConv, sample, values(params + Layout::kConvWeights), words(params + Layout::kConvBias),
               kInputExponent + kConvExponent - kMapExponent, Activation::kRelu, values(arena + Arena::kPatch), map);
  int8::max_pool(kPool, map, map, arena + Arena::kWinners);
  int8::dense_logits(kDense, map, values(params + Layout::kDenseWeights), words(params + Layout::kDenseBias), logits);
  return int8::softmax_cross_entropy(kClasses, logits, kMapExponent + kDenseExponent, label,
                                     reinterpret_cast<uint32_t*>(logits), logits_gradient);
}

StepResult result_of(const int8::LossResult& loss, uint32_t saturated) {
  return {loss.loss_q16, static_cast<uint16_t>(int8::smaller(saturated, UINT16_MAX)), loss.predicted};
}

void begin(uint8_t* params) { std::memset(params + Layout::kDownBytes, 0, Layout::kBytes - Layout::kDownBytes); }

StepResult infer(const uint8_t* params, uint8_t* arena, const int8_t* sample, uint8_t label) {
  return result_of(forward(params, arena, sample, label, nullptr), 0);
}

StepResult step(uint8_t* params, uint8_t* arena, const int8_t* sample, uint8_t label, uint32_t learning_rate_q16,
                uint32_t seed) {
  int8_t* map = values(arena + Arena::kMap);  // the pooled map at first, the convolution's output gradient at last
  int8_t* logits_gradient = values(arena + Arena::kLogitsGradient);
  int8_t* pooled_gradient = values(arena + Arena::kPooledGradient);
  const int8::LossResult loss = forward(params, arena, sample, label, logits_gradient);
  int8::Sgd sgd{learning_rate_q16, seed, 0};

  const int8::WeightTensor dense{values(params + Layout::kDenseWeights), values(params + Layout::kDenseResiduals),
                                 kDenseExponent};
  const int32_t map_gradient_exponent = int8::dense_input_gradient(kDense, logits_gradient, loss.gradient_exponent,
                                                                   dense.values, dense.exponent, map, pooled_gradient);
  int8::update_bias(sgd, kDenseBiasStream, logits_gradient, loss.gradient_exponent, 1, kClasses,
                    words(params + Layout::kDenseBias), kMapExponent + kDenseExponent + int8::kBiasBits);
  int8::dense_update(kDense, sgd, kDenseStream, logits_gradient, loss.gradient_exponent, map, kMapExponent, dense);

  int8::max_pool_gradient(kPool, pooled_gradient, arena + Arena::kWinners, map);

  const int8::WeightTensor conv{values(params + Layout::kConvWeights), values(params + Layout::kConvResiduals),
                                kConvExponent};
  int8::update_bias(sgd, kConvBiasStream, map, map_gradient_exponent, kConv.out_h * kConv.out_w, kConv.out_c,
                    words(params + Layout::kConvBias), kInputExponent + kConvExponent + int8::kBiasBits);
  int8::conv2d_update(kConv, sgd, kConvStream, map, map_gradient_exponent, sample, kInputExponent, conv);
  return result_of(loss, sgd.saturated);
}

}  // namespace
}  // namespace ftte::program

const ftte::Program kProgram{
    ftte::Dtype::kInt8,          ftte::program::kClasses,
    ftte::program::kParamsBytes, ftte::program::Layout::kDownBytes,
    ftte::program::kArenaBytes,  ftte::program::kSampleBytes,
    ftte::program::begin,        ftte::program::step,
    ftte::program::infer,
};
