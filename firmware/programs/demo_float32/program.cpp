// The network of demo_int8 in float32, the standard approach, for boards with an FPU:
//
//   x [14, 14, 1] -> convolution 3x3, 12 channels, ReLU -> [12, 12, 12] -> max-pooling 2x2 -> [6, 6, 12]
//   -> fully connected -> [10] -> softmax cross-entropy
//
// The arena's map is used as in demo_int8; the sample is converted to float first and kept for the weight gradient.
#include "programs/demo_float32/program.hpp"

#include "engine/float32/conv2d.hpp"
#include "engine/float32/dense.hpp"
#include "engine/float32/max_pool.hpp"
#include "engine/float32/softmax_cross_entropy.hpp"
#include "engine/program.hpp"

namespace ftte::program {
namespace {

using float32::Activation;

constexpr int32_t kClasses = 10;
constexpr Conv2dShape kConv{14, 14, 1, 12, 12, 12, 3, 3, 1, 0};
constexpr PoolShape kPool{kConv.out_h, kConv.out_w, kConv.out_c};
constexpr DenseShape kDense{kPool.out_size(), kClasses};
static_assert(kConv.valid() && kDense.valid());

constexpr float kInputUnit = 1.0F / 64.0F;  // the input's exponent is 6

// In floats: all of it is sent down and up.
struct Layout {
  static constexpr int32_t kConvBias = 0;
  static constexpr int32_t kDenseBias = kConvBias + kConv.out_c;
  static constexpr int32_t kConvWeights = kDenseBias + kDense.out;
  static constexpr int32_t kDenseWeights = kConvWeights + kConv.weights();
  static constexpr int32_t kFloats = kDenseWeights + kDense.weights();
};
static_assert(4 * Layout::kFloats == kParamsBytes);

// In floats but for the winners, which are bytes and come last.
struct Arena {
  static constexpr int32_t kInput = 0;
  static constexpr int32_t kMap = kInput + kConv.in_size();
  static constexpr int32_t kLogits = kMap + kPool.out_size();
  static constexpr int32_t kPooledGradient = kMap + kConv.out_size() - kPool.out_size();
  static constexpr int32_t kPatch = kMap + kConv.out_size();  // the winners' room, which are needed after it
  static constexpr int32_t kWinnersByte = 4 * kPatch;
  static constexpr int32_t kBytes = kWinnersByte + ((kPool.winner_bytes() + 3) & ~3);
};
static_assert(Arena::kBytes == kArenaBytes);
static_assert(Arena::kPooledGradient >= Arena::kLogits + kClasses, "what lives together does not overlap");
static_assert(4 * kConv.patch_size() <= kPool.winner_bytes());

// The caller aligns params and arena to 8 bytes.
float* floats(uint8_t* bytes) { return reinterpret_cast<float*>(bytes); }
const float* floats(const uint8_t* bytes) { return reinterpret_cast<const float*>(bytes); }

// Leaves the logits' gradient where the logits were.
StepResult forward(const float* params, uint8_t* arena, const int8_t* sample, uint8_t label) {
  float* input = floats(arena) + Arena::kInput;
  float* map = floats(arena) + Arena::kMap;
  float* logits = floats(arena) + Arena::kLogits;
  for (int32_t i = 0; i < kConv.in_size(); ++i) input[i] = static_cast<float>(sample[i]) * kInputUnit;
  float32::conv2d(kConv, input, params + Layout::kConvWeights, params + Layout::kConvBias, Activation::kRelu,
                  floats(arena) + Arena::kPatch, map);
  float32::max_pool(kPool, map, map, arena + Arena::kWinnersByte);
  float32::dense(kDense, map, params + Layout::kDenseWeights, params + Layout::kDenseBias, Activation::kLinear, logits);
  const float32::LossResult loss = float32::softmax_cross_entropy(kClasses, logits, label, logits);
  // A loss that is no number (training has diverged) is reported as the largest.
  const bool finite = loss.loss >= 0.0F && loss.loss < 65535.0F;
  return {finite ? static_cast<uint32_t>(loss.loss * 65536.0F) : UINT32_MAX, 0, loss.predicted};
}

void begin(uint8_t* params) { static_cast<void>(params); }  // nothing is derived from what is sent down

StepResult infer(const uint8_t* params, uint8_t* arena, const int8_t* sample, uint8_t label) {
  return forward(floats(params), arena, sample, label);
}

StepResult step(uint8_t* params, uint8_t* arena, const int8_t* sample, uint8_t label, uint32_t learning_rate_q16,
                uint32_t seed) {
  static_cast<void>(seed);  // nothing is rounded stochastically
  float* weights = floats(params);
  float* map = floats(arena) + Arena::kMap;  // the pooled map at first, the convolution's output gradient at last
  float* logits_gradient = floats(arena) + Arena::kLogits;
  float* pooled_gradient = floats(arena) + Arena::kPooledGradient;
  const StepResult result = forward(weights, arena, sample, label);
  const float learning_rate = static_cast<float>(learning_rate_q16) * (1.0F / 65536.0F);
  float32::dense_input_gradient(kDense, logits_gradient, weights + Layout::kDenseWeights, map, pooled_gradient);
  float32::dense_update(kDense, learning_rate, logits_gradient, map, weights + Layout::kDenseWeights,
                        weights + Layout::kDenseBias);
  float32::max_pool_gradient(kPool, pooled_gradient, arena + Arena::kWinnersByte, map);
  float32::conv2d_update(kConv, learning_rate, map, floats(arena) + Arena::kInput, weights + Layout::kConvWeights,
                         weights + Layout::kConvBias);
  return result;
}

}  // namespace
}  // namespace ftte::program

const ftte::Program kProgram{
    ftte::Dtype::kFloat32,       ftte::program::kClasses,    ftte::program::kParamsBytes,
    ftte::program::kParamsBytes, ftte::program::kArenaBytes, ftte::program::kSampleBytes,
    ftte::program::begin,        ftte::program::step,        ftte::program::infer,
};
