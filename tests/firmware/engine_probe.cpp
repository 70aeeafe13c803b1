// The engine's kernels and the program under plain C names, for the tests to call: compiled for the host into a shared
// library and for each core into an image that Unicorn executes. Shapes come as arrays of their fields.
#include <cstdint>

#include "engine/float32/conv2d.hpp"
#include "engine/float32/dense.hpp"
#include "engine/float32/max_pool.hpp"
#include "engine/float32/softmax_cross_entropy.hpp"
#include "engine/int8/conv2d.hpp"
#include "engine/int8/conv2d_input_gradient.hpp"
#include "engine/int8/conv2d_update.hpp"
#include "engine/int8/dense.hpp"
#include "engine/int8/dense_input_gradient.hpp"
#include "engine/int8/dense_update.hpp"
#include "engine/int8/max_pool.hpp"
#include "engine/int8/softmax_cross_entropy.hpp"
#include "engine/program.hpp"

using namespace ftte;

namespace {

Conv2dShape conv(const int32_t* s) { return {s[0], s[1], s[2], s[3], s[4], s[5], s[6], s[7], s[8], s[9]}; }
DenseShape dense(const int32_t* s) { return {s[0], s[1]}; }
PoolShape pool(const int32_t* s) { return {s[0], s[1], s[2]}; }

int8::Activation int8_activation(int32_t relu) {
  return relu != 0 ? int8::Activation::kRelu : int8::Activation::kLinear;
}
float32::Activation float_activation(int32_t relu) {
  return relu != 0 ? float32::Activation::kRelu : float32::Activation::kLinear;
}

// sgd: learning rate, seed, saturated (out), stream; exponents: of gy, of x, of the weights.
int8::Sgd sgd_of(const uint32_t* sgd) { return {sgd[0], sgd[1], 0}; }

}  // namespace

extern "C" {

int32_t int8_conv2d_valid(const int32_t* shape) { return conv(shape).valid() ? 1 : 0; }

void int8_conv2d(const int32_t* shape, const int8_t* x, const int8_t* w, const int32_t* bias, int32_t shift,
                 int32_t relu, int8_t* patch, int8_t* y) {
  int8::conv2d(conv(shape), x, w, bias, shift, int8_activation(relu), patch, y);
}

int32_t int8_conv2d_input_gradient(const int32_t* shape, const int8_t* gy, const int32_t* exponents, const int8_t* w,
                                   const int8_t* x, int8_t* gx) {
  return int8::conv2d_input_gradient(conv(shape), gy, exponents[0], w, exponents[2], x, gx);
}

void int8_conv2d_update(const int32_t* shape, uint32_t* sgd, const int8_t* gy, const int8_t* x,
                        const int32_t* exponents, int8_t* q, int8_t* r) {
  int8::Sgd state = sgd_of(sgd);
  int8::conv2d_update(conv(shape), state, sgd[3], gy, exponents[0], x, exponents[1], {q, r, exponents[2]});
  sgd[2] = state.saturated;
}

void int8_dense(const int32_t* shape, const int8_t* x, const int8_t* w, const int32_t* bias, int32_t shift,
                int32_t relu, int8_t* y) {
  int8::dense(dense(shape), x, w, bias, shift, int8_activation(relu), y);
}

void int8_dense_logits(const int32_t* shape, const int8_t* x, const int8_t* w, const int32_t* bias, int32_t* logits) {
  int8::dense_logits(dense(shape), x, w, bias, logits);
}

int32_t int8_dense_input_gradient(const int32_t* shape, const int8_t* gy, const int32_t* exponents, const int8_t* w,
                                  const int8_t* x, int8_t* gx) {
  return int8::dense_input_gradient(dense(shape), gy, exponents[0], w, exponents[2], x, gx);
}

void int8_dense_update(const int32_t* shape, uint32_t* sgd, const int8_t* gy, const int8_t* x, const int32_t* exponents,
                       int8_t* q, int8_t* r) {
  int8::Sgd state = sgd_of(sgd);
  int8::dense_update(dense(shape), state, sgd[3], gy, exponents[0], x, exponents[1], {q, r, exponents[2]});
  sgd[2] = state.saturated;
}

// exponents: of gy, of the bias.
void int8_update_bias(uint32_t* sgd, const int8_t* gy, const int32_t* exponents, int32_t positions, int32_t channels,
                      int32_t* bias) {
  int8::Sgd state = sgd_of(sgd);
  int8::update_bias(state, sgd[3], gy, exponents[0], positions, channels, bias, exponents[1]);
  sgd[2] = state.saturated;
}

void int8_max_pool(const int32_t* shape, const int8_t* x, int8_t* y, uint8_t* winners) {
  int8::max_pool(pool(shape), x, y, winners);
}

void int8_max_pool_gradient(const int32_t* shape, const int8_t* gy, const uint8_t* winners, int8_t* gx) {
  int8::max_pool_gradient(pool(shape), gy, winners, gx);
}

// result: loss, gradient exponent, predicted.
void int8_softmax_cross_entropy(int32_t classes, const int32_t* logits, int32_t exponent, int32_t label,
                                int8_t* gradient, uint32_t* scratch, int32_t* result) {
  const int8::LossResult loss =
      int8::softmax_cross_entropy(classes, logits, exponent, static_cast<uint8_t>(label), scratch, gradient);
  result[0] = static_cast<int32_t>(loss.loss_q16);
  result[1] = loss.gradient_exponent;
  result[2] = loss.predicted;
}

void float32_conv2d(const int32_t* shape, const float* x, const float* w, const float* bias, int32_t relu, float* patch,
                    float* y) {
  float32::conv2d(conv(shape), x, w, bias, float_activation(relu), patch, y);
}

void float32_conv2d_input_gradient(const int32_t* shape, const float* gy, const float* w, const float* x, float* gx) {
  float32::conv2d_input_gradient(conv(shape), gy, w, x, gx);
}

void float32_conv2d_update(const int32_t* shape, const float* learning_rate, const float* gy, const float* x, float* w,
                           float* bias) {
  float32::conv2d_update(conv(shape), *learning_rate, gy, x, w, bias);
}

void float32_dense(const int32_t* shape, const float* x, const float* w, const float* bias, int32_t relu, float* y) {
  float32::dense(dense(shape), x, w, bias, float_activation(relu), y);
}

void float32_dense_input_gradient(const int32_t* shape, const float* gy, const float* w, const float* x, float* gx) {
  float32::dense_input_gradient(dense(shape), gy, w, x, gx);
}

void float32_dense_update(const int32_t* shape, const float* learning_rate, const float* gy, const float* x, float* w,
                          float* bias) {
  float32::dense_update(dense(shape), *learning_rate, gy, x, w, bias);
}

void float32_max_pool(const int32_t* shape, const float* x, float* y, uint8_t* winners) {
  float32::max_pool(pool(shape), x, y, winners);
}

void float32_max_pool_gradient(const int32_t* shape, const float* gy, const uint8_t* winners, float* gx) {
  float32::max_pool_gradient(pool(shape), gy, winners, gx);
}

// result: loss, predicted.
void float32_softmax_cross_entropy(int32_t classes, const float* logits, int32_t label, float* gradient,
                                   float* result) {
  const float32::LossResult loss =
      float32::softmax_cross_entropy(classes, logits, static_cast<uint8_t>(label), gradient);
  result[0] = loss.loss;
  result[1] = static_cast<float>(loss.predicted);
}

// The program that this is compiled with. arguments: learning rate, seed, label. result: loss, saturated, predicted.
void program_begin(uint8_t* params) { kProgram.begin(params); }

void program_step(uint8_t* params, uint8_t* arena, const int8_t* sample, const uint32_t* arguments, uint32_t* result) {
  const StepResult step =
      kProgram.step(params, arena, sample, static_cast<uint8_t>(arguments[2]), arguments[0], arguments[1]);
  result[0] = step.loss_q16;
  result[1] = step.saturated;
  result[2] = step.predicted;
}

void program_infer(const uint8_t* params, uint8_t* arena, const int8_t* sample, const uint32_t* arguments,
                   uint32_t* result) {
  const StepResult step = kProgram.infer(params, arena, sample, static_cast<uint8_t>(arguments[2]));
  result[0] = step.loss_q16;
  result[1] = step.saturated;
  result[2] = step.predicted;
}

}  // extern "C"
