// The int8 kernels of the backward pass under plain C names, for the tests to call: compiled for the host into a shared
// library and for each core into an image that Unicorn executes. Shapes come as arrays of their fields.
#include <cstdint>

#include "engine/int8/add_gradients.hpp"
#include "engine/int8/avg_pool_gradient.hpp"
#include "engine/int8/conv2d_input_gradient.hpp"
#include "engine/int8/conv2d_update.hpp"
#include "engine/int8/depthwise2d_input_gradient.hpp"
#include "engine/int8/depthwise2d_update.hpp"
#include "engine/int8/fold.hpp"
#include "engine/int8/gate_gradient.hpp"
#include "engine/int8/max_pool_gradient.hpp"
#include "engine/int8/upsample_gradient.hpp"

using namespace ftte;
using int8::Sgd;

namespace {

Conv2dShape conv(const int32_t* s) {
  return {s[0], s[1], s[2], s[3], s[4], s[5], s[6], s[7], s[8], s[9], s[10], s[11], s[12]};
}
PoolShape pool(const int32_t* s) { return {s[0], s[1], s[2], s[3], s[4], s[5], s[6], s[7], s[8], s[9], s[10]}; }
UpsampleShape scale(const int32_t* s) { return {s[0], s[1], s[2], s[3], s[4], s[5]}; }

struct Update {
  uint32_t stream;
  Conv2dShape shape;
  const int8_t *gy, *x;
  const int32_t* exponents;
  int32_t x_channels;
  int8_t* values;
  void* residuals;
  int32_t trained_in;
  const int8_t* lift;
};

template <class Rule>
void run(Sgd& sgd, const Update& u, bool depthwise) {
  const int8::TrainedWeights<Rule> weights{u.values, static_cast<typename Rule::Residual*>(u.residuals), u.trained_in,
                                           u.lift, u.exponents[2]};
  const auto update = depthwise ? int8::depthwise2d_update<Rule> : int8::conv2d_update<Rule>;
  update(sgd, u.stream, u.shape, u.gy, u.exponents[0], u.x, u.exponents[1], u.x_channels, weights);
}

// rule: 0 compensated, 1 accumulated, 2 truncated, 3 compensated4.
void run(int32_t rule, Sgd& sgd, const Update& u, bool depthwise) {
  if (rule == 0) run<int8::Compensated>(sgd, u, depthwise);
  if (rule == 1) run<int8::Accumulated>(sgd, u, depthwise);
  if (rule == 2) run<int8::Truncated>(sgd, u, depthwise);
  if (rule == 3) run<int8::Compensated4>(sgd, u, depthwise);
}

}  // namespace

// `sgd` everywhere: learning rate, seed, saturated (added to). exponents: of gy and of the weights; for updates, of gy,
// of x and of the weights.
extern "C" {

int32_t conv2d_input_gradient(Sgd* sgd, const int32_t* shape, const int8_t* gy, const int32_t* exponents,
                              const int8_t* trained, const int8_t* frozen, int32_t trained_in, const int8_t* lift,
                              const uint8_t* gate, uint32_t* peak, int8_t* gx) {
  return int8::conv2d_input_gradient(*sgd, conv(shape), gy, exponents[0], {trained, frozen, trained_in}, lift,
                                     exponents[1], gate, peak, gx);
}

int32_t depthwise2d_input_gradient(Sgd* sgd, const int32_t* shape, const int8_t* gy, const int32_t* exponents,
                                   const int8_t* trained, const int8_t* frozen, int32_t trained_in, const int8_t* lift,
                                   const uint8_t* gate, uint32_t* peak, int8_t* gx) {
  return int8::depthwise2d_input_gradient(*sgd, conv(shape), gy, exponents[0], {trained, frozen, trained_in}, lift,
                                          exponents[1], gate, peak, gx);
}

int32_t avg_pool_gradient(Sgd* sgd, const int32_t* shape, const int8_t* gy, int32_t exponent, const uint8_t* gate,
                          uint32_t* peak, int8_t* gx) {
  return int8::avg_pool_gradient(*sgd, pool(shape), gy, exponent, gate, peak, gx);
}

int32_t max_pool_gradient(Sgd* sgd, const int32_t* shape, const int8_t* gy, int32_t exponent, const uint8_t* winners,
                          const uint8_t* gate, uint32_t* peak, int8_t* gx) {
  return int8::max_pool_gradient(*sgd, pool(shape), gy, exponent, winners, gate, peak, gx);
}

int32_t upsample_gradient(Sgd* sgd, const int32_t* shape, const int8_t* gy, int32_t exponent, const uint8_t* gate,
                          uint32_t* peak, int8_t* gx) {
  return int8::upsample_gradient(*sgd, scale(shape), gy, exponent, gate, peak, gx);
}

int32_t add_gradients(Sgd* sgd, int32_t n, const int8_t* a, int32_t a_exponent, const int8_t* b, int32_t b_exponent,
                      const uint8_t* gate, uint32_t* peak, int8_t* y) {
  return int8::add_gradients(*sgd, n, a, a_exponent, b, b_exponent, gate, peak, y);
}

int32_t gate_gradient(int32_t n, const int8_t* gy, const uint8_t* gate, int8_t* y) {
  int8::gate_gradient(n, gy, gate, y);
  return 0;
}

int32_t conv2d_update(Sgd* sgd, uint32_t stream, int32_t rule, const int32_t* shape, const int8_t* gy, const int8_t* x,
                      const int32_t* exponents, int32_t x_channels, int8_t* values, void* residuals, int32_t trained_in,
                      const int8_t* lift) {
  run(rule, *sgd, {stream, conv(shape), gy, x, exponents, x_channels, values, residuals, trained_in, lift}, false);
  return 0;
}

int32_t depthwise2d_update(Sgd* sgd, uint32_t stream, int32_t rule, const int32_t* shape, const int8_t* gy,
                           const int8_t* x, const int32_t* exponents, int32_t x_channels, int8_t* values,
                           void* residuals, int32_t trained_in, const int8_t* lift) {
  run(rule, *sgd, {stream, conv(shape), gy, x, exponents, x_channels, values, residuals, trained_in, lift}, true);
  return 0;
}

int32_t update_bias(Sgd* sgd, uint32_t stream, const int8_t* gy, int32_t gy_exponent, int32_t positions,
                    int32_t channels, int32_t* bias, const int8_t* lift, int32_t exponent) {
  int8::update_bias(*sgd, stream, gy, gy_exponent, positions, channels, bias, lift, exponent);
  return 0;
}

int32_t fold_weights(Sgd* sgd, int32_t n, int8_t* values, int16_t* pending) {
  int8::fold_weights(*sgd, n, values, pending);
  return 0;
}

int32_t fold_bias(int32_t channels, int32_t* bias, int32_t* pending) {
  int8::fold_bias(channels, bias, pending);
  return 0;
}

}  // extern "C"
