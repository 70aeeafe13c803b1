// The float32 kernels under plain C names, for the tests to call: compiled for the host into a shared library and for a
// core into an image that Unicorn executes. Shapes come as arrays of their fields, floats that are no arrays as arrays
// of one, so that all arguments are words.
#include <cstdint>

#include "engine/float32/add.hpp"
#include "engine/float32/add_gradients.hpp"
#include "engine/float32/avg_pool.hpp"
#include "engine/float32/avg_pool_gradient.hpp"
#include "engine/float32/conv2d.hpp"
#include "engine/float32/conv2d_input_gradient.hpp"
#include "engine/float32/conv2d_update.hpp"
#include "engine/float32/depthwise2d.hpp"
#include "engine/float32/depthwise2d_input_gradient.hpp"
#include "engine/float32/depthwise2d_update.hpp"
#include "engine/float32/fold.hpp"
#include "engine/float32/gate_gradient.hpp"
#include "engine/float32/max_pool.hpp"
#include "engine/float32/max_pool_gradient.hpp"
#include "engine/float32/mean_squared_error.hpp"
#include "engine/float32/pack_gate.hpp"
#include "engine/float32/slice_channels.hpp"
#include "engine/float32/softmax_cross_entropy.hpp"
#include "engine/float32/update_bias.hpp"
#include "engine/float32/upsample.hpp"
#include "engine/float32/upsample_gradient.hpp"
#include "engine/float32/widen_sample.hpp"

using namespace ftte;

namespace {

Conv2dShape conv(const int32_t* s) {
  return {s[0], s[1], s[2], s[3], s[4], s[5], s[6], s[7], s[8], s[9], s[10], s[11], s[12]};
}
PoolShape pool(const int32_t* s) { return {s[0], s[1], s[2], s[3], s[4], s[5], s[6], s[7], s[8], s[9], s[10]}; }
UpsampleShape scale(const int32_t* s) { return {s[0], s[1], s[2], s[3], s[4], s[5]}; }
float32::Range range_of(const float* range) { return {range[0], range[1]}; }

void store(const float32::LossResult& loss, float* result) {
  result[0] = loss.loss;
  result[1] = static_cast<float>(loss.predicted);
}

}  // namespace

extern "C" {

int32_t scratch_size(const int32_t* shape) { return conv2d_scratch(conv(shape)); }
int32_t winner_bytes(const int32_t* shape) { return pool(shape).winner_bytes(); }

void conv2d(const int32_t* shape, const float* x, const float* trained, const float* frozen, int32_t trained_in,
            const float* bias, const float* range, float* scratch, float* y) {
  float32::conv2d(conv(shape), x, {trained, frozen, trained_in}, bias, range_of(range), scratch, y);
}

void depthwise2d(const int32_t* shape, const float* x, const float* trained, const float* frozen, int32_t trained_in,
                 const float* bias, const float* range, float* y) {
  float32::depthwise2d(conv(shape), x, {trained, frozen, trained_in}, bias, range_of(range), y);
}

void conv2d_input_gradient(const int32_t* shape, const float* gy, const float* trained, const float* frozen,
                           int32_t trained_in, const uint8_t* gate, float* gx) {
  float32::conv2d_input_gradient(conv(shape), gy, {trained, frozen, trained_in}, gate, gx);
}

void depthwise2d_input_gradient(const int32_t* shape, const float* gy, const float* trained, const float* frozen,
                                int32_t trained_in, const uint8_t* gate, float* gx) {
  float32::depthwise2d_input_gradient(conv(shape), gy, {trained, frozen, trained_in}, gate, gx);
}

void conv2d_update_immediate(const float* rate, const int32_t* shape, const float* gy, const float* x,
                             int32_t x_channels, float* trained, int32_t trained_in) {
  float32::conv2d_update<float32::Immediate>(*rate, conv(shape), gy, x, x_channels, trained, trained_in);
}

void conv2d_update_accumulated(const float* rate, const int32_t* shape, const float* gy, const float* x,
                               int32_t x_channels, float* trained, int32_t trained_in) {
  float32::conv2d_update<float32::Accumulated>(*rate, conv(shape), gy, x, x_channels, trained, trained_in);
}

void depthwise2d_update_immediate(const float* rate, const int32_t* shape, const float* gy, const float* x,
                                  int32_t x_channels, float* trained, int32_t trained_in) {
  float32::depthwise2d_update<float32::Immediate>(*rate, conv(shape), gy, x, x_channels, trained, trained_in);
}

void depthwise2d_update_accumulated(const float* rate, const int32_t* shape, const float* gy, const float* x,
                                    int32_t x_channels, float* trained, int32_t trained_in) {
  float32::depthwise2d_update<float32::Accumulated>(*rate, conv(shape), gy, x, x_channels, trained, trained_in);
}

void update_bias_immediate(const float* rate, const float* gy, int32_t positions, int32_t channels, float* bias) {
  float32::update_bias<float32::Immediate>(*rate, gy, positions, channels, bias);
}

void update_bias_accumulated(const float* rate, const float* gy, int32_t positions, int32_t channels, float* bias) {
  float32::update_bias<float32::Accumulated>(*rate, gy, positions, channels, bias);
}

void fold(const float* rate, int32_t n, float* values, float* accumulated) {
  float32::fold(*rate, n, values, accumulated);
}

void add(int32_t n, const float* a, const float* b, const float* range, float* y) {
  float32::add(n, a, b, range_of(range), y);
}

void add_gradients(int32_t n, const float* a, const float* b, const uint8_t* gate, float* y) {
  float32::add_gradients(n, a, b, gate, y);
}

void gate_gradient(int32_t n, const float* gy, const uint8_t* gate, float* y) {
  float32::gate_gradient(n, gy, gate, y);
}

void pack_gate(int32_t n, const float* y, const float* range, uint8_t* bits) {
  float32::pack_gate(n, y, range_of(range), bits);
}

void avg_pool(const int32_t* shape, const float* x, float* y) { float32::avg_pool(pool(shape), x, y); }

void avg_pool_gradient(const int32_t* shape, const float* gy, const uint8_t* gate, float* gx) {
  float32::avg_pool_gradient(pool(shape), gy, gate, gx);
}

void max_pool(const int32_t* shape, const float* x, float* y, uint8_t* winners) {
  float32::max_pool(pool(shape), x, y, winners);
}

void max_pool_gradient(const int32_t* shape, const float* gy, const uint8_t* winners, const uint8_t* gate, float* gx) {
  float32::max_pool_gradient(pool(shape), gy, winners, gate, gx);
}

void upsample(const int32_t* shape, const float* x, float* y) { float32::upsample(scale(shape), x, y); }

void upsample_gradient(const int32_t* shape, const float* gy, const uint8_t* gate, float* gx) {
  float32::upsample_gradient(scale(shape), gy, gate, gx);
}

void slice_channels(int32_t positions, int32_t channels, int32_t kept, const float* x, float* y) {
  float32::slice_channels(positions, channels, kept, x, y);
}

void widen_sample(int32_t n, const int8_t* sample, const float* factor, float* x) {
  float32::widen_sample(n, sample, *factor, x);
}

// result: loss, predicted.
void softmax_cross_entropy(int32_t classes, const float* logits, int32_t label, float* gradient, float* result) {
  store(float32::softmax_cross_entropy(classes, logits, static_cast<uint8_t>(label), gradient), result);
}

void mean_squared_error(int32_t n, const float* y, const float* target, float* gradient, float* result) {
  store(float32::mean_squared_error(n, y, target, gradient), result);
}

void mean_squared_error_label(int32_t n, const float* y, int32_t label, float* gradient, float* result) {
  store(float32::mean_squared_error_label(n, y, static_cast<uint8_t>(label), gradient), result);
}

}  // extern "C"
