// The int8 kernels of the forward pass under plain C names, for the tests to call; shapes come as arrays of their
// fields. Losses put what they return into `result`: loss, exponent of the gradient, predicted class.
#include <cstdint>

#include "engine/int8/add.hpp"
#include "engine/int8/avg_pool.hpp"
#include "engine/int8/conv2d.hpp"
#include "engine/int8/depthwise2d.hpp"
#include "engine/int8/max_pool.hpp"
#include "engine/int8/mean_squared_error.hpp"
#include "engine/int8/pack_gate.hpp"
#include "engine/int8/slice_channels.hpp"
#include "engine/int8/softmax_cross_entropy.hpp"
#include "engine/int8/upsample.hpp"
#include "engine/int8/widen.hpp"

using namespace ftte;

namespace {

Conv2dShape conv(const int32_t* s) {
  return {s[0], s[1], s[2], s[3], s[4], s[5], s[6], s[7], s[8], s[9], s[10], s[11], s[12]};
}
PoolShape pool(const int32_t* s) { return {s[0], s[1], s[2], s[3], s[4], s[5], s[6], s[7], s[8], s[9], s[10]}; }
int8::Range bounds(const int32_t* r) { return {static_cast<int8_t>(r[0]), static_cast<int8_t>(r[1])}; }

int32_t put(const int8::LossResult& result, int32_t* out) {
  out[0] = static_cast<int32_t>(result.loss_q16);
  out[1] = result.gradient_exponent;
  out[2] = result.predicted;
  return 0;
}

}  // namespace

extern "C" {

int32_t conv2d(const int32_t* shape, const int8_t* x, const int8_t* trained, const int8_t* frozen, int32_t trained_in,
               const int32_t* bias, const int8_t* shifts, const int32_t* range, int8_t* scratch, int8_t* y) {
  int8::conv2d(conv(shape), x, {trained, frozen, trained_in}, bias, shifts, bounds(range), scratch, y);
  return conv2d_scratch(conv(shape));
}

int32_t conv2d_logits(const int32_t* shape, const int8_t* x, const int8_t* trained, const int8_t* frozen,
                      int32_t trained_in, const int32_t* bias, int8_t* scratch, int32_t* y) {
  int8::conv2d_logits(conv(shape), x, {trained, frozen, trained_in}, bias, scratch, y);
  return conv2d_scratch(conv(shape));
}

int32_t depthwise2d(const int32_t* shape, const int8_t* x, const int8_t* trained, const int8_t* frozen,
                    int32_t trained_in, const int32_t* bias, const int8_t* shifts, const int32_t* range, int8_t* y) {
  int8::depthwise2d(conv(shape), x, {trained, frozen, trained_in}, bias, shifts, bounds(range), y);
  return 0;
}

int32_t add(int32_t n, const int8_t* a, const int8_t* b, const int8_t* scale, const int32_t* range, int8_t* y) {
  int8::add(n, a, b, {scale[0], scale[1], scale[2]}, bounds(range), y);
  return 0;
}

int32_t avg_pool(const int32_t* shape, const int8_t* x, int32_t lift, int8_t* y) {
  int8::avg_pool(pool(shape), x, static_cast<int8_t>(lift), y);
  return 0;
}

int32_t max_pool(const int32_t* shape, const int8_t* x, int8_t* y, uint8_t* winners) {
  int8::max_pool(pool(shape), x, y, winners);
  return pool(shape).winner_bytes();
}

int32_t upsample(const int32_t* s, const int8_t* x, int8_t* y) {
  int8::upsample({s[0], s[1], s[2], s[3], s[4], s[5]}, x, y);
  return 0;
}

int32_t pack_gate(int32_t n, const int8_t* y, const int32_t* range, uint8_t* bits) {
  int8::pack_gate(n, y, bounds(range), bits);
  return 0;
}

int32_t slice_channels(int32_t positions, int32_t channels, int32_t kept, const int8_t* x, int8_t* y) {
  int8::slice_channels(positions, channels, kept, x, y);
  return 0;
}

int32_t widen(int32_t n, const int8_t* x, int32_t* y) {
  int8::widen(n, x, y);
  return 0;
}

int32_t softmax_cross_entropy(int32_t classes, const int32_t* logits, int32_t exponent, int32_t label,
                              uint32_t* scratch, int8_t* gradient, int32_t* result) {
  return put(int8::softmax_cross_entropy(classes, logits, exponent, static_cast<uint8_t>(label), scratch, gradient),
             result);
}

int32_t mean_squared_error(int32_t n, const int32_t* y, int32_t exponent, const int8_t* target, int32_t target_exponent,
                           int8_t* gradient, int32_t* result) {
  return put(int8::mean_squared_error(n, y, exponent, target, target_exponent, gradient), result);
}

int32_t mean_squared_error_label(int32_t n, const int32_t* y, int32_t exponent, int32_t label, int8_t* gradient,
                                 int32_t* result) {
  return put(int8::mean_squared_error_label(n, y, exponent, static_cast<uint8_t>(label), gradient), result);
}

}  // extern "C"
