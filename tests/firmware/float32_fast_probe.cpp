// The float32 kernels that are made for FPUs, and the general ones, under plain C names. Shapes come as arrays of their
// fields.
#include <cstdint>

#include "engine/float32/fast/conv2d.hpp"
#include "engine/float32/fast/conv2d_input_gradient.hpp"
#include "engine/float32/fast/conv2d_update.hpp"

using namespace ftte;

namespace {

Conv2dShape conv(const int32_t* s) {
  return {s[0], s[1], s[2], s[3], s[4], s[5], s[6], s[7], s[8], s[9], s[10], s[11], s[12]};
}

}  // namespace

extern "C" {

void conv2d(int32_t fast, const int32_t* shape, const float* x, const float* trained, const float* frozen,
            int32_t trained_in, const float* bias, const float* range, float* scratch, float* y) {
  const auto kernel = fast != 0 ? float32::fast::conv2d : float32::conv2d;
  kernel(conv(shape), x, {trained, frozen, trained_in}, bias, {range[0], range[1]}, scratch, y);
}

void conv2d_input_gradient(int32_t fast, const int32_t* shape, const float* gy, const float* trained,
                           const float* frozen, int32_t trained_in, const uint8_t* gate, float* gx) {
  const auto kernel = fast != 0 ? float32::fast::conv2d_input_gradient : float32::conv2d_input_gradient;
  kernel(conv(shape), gy, {trained, frozen, trained_in}, gate, gx);
}

void conv2d_update(int32_t fast, int32_t accumulate, const int32_t* shape, const float* gy, const float* x,
                   int32_t x_channels, float* weights, int32_t trained_in) {
  auto kernel =
      fast != 0 ? float32::fast::conv2d_update<float32::Immediate> : float32::conv2d_update<float32::Immediate>;
  if (accumulate != 0) {
    kernel =
        fast != 0 ? float32::fast::conv2d_update<float32::Accumulated> : float32::conv2d_update<float32::Accumulated>;
  }
  kernel(0.03F, conv(shape), gy, x, x_channels, weights, trained_in);
}

}  // extern "C"
