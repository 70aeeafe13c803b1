// Shapes of the operators, shared by the int8 and the float32 kernels. Maps are channels last, batch 1.
#pragma once

#include <cstdint>

namespace ftte {

// x [in_h, in_w, in_c], y [out_h, out_w, out_c], weights [kernel_h, kernel_w, in_c, out_c] (HWIO). What lies outside x
// is zero.
struct Conv2dShape {
  int32_t in_h, in_w, in_c;
  int32_t out_h, out_w, out_c;
  int32_t kernel_h, kernel_w;
  int32_t stride, pad;

  constexpr int32_t in_size() const { return in_h * in_w * in_c; }
  constexpr int32_t out_size() const { return out_h * out_w * out_c; }
  constexpr int32_t weights() const { return patch_size() * out_c; }
  constexpr int32_t patch_size() const { return kernel_h * kernel_w * in_c; }  // elements under one window
  // Whether the output has the size that input, kernel, stride and pad give, and no int8 kernel's sum can leave int32.
  constexpr bool valid() const {
    return in_h > 0 && in_w > 0 && in_c > 0 && out_c > 0 && kernel_h > 0 && kernel_w > 0 && stride > 0 && pad >= 0 &&
           pad < kernel_h && pad < kernel_w && in_h + 2 * pad >= kernel_h && in_w + 2 * pad >= kernel_w &&
           out_h == (in_h + 2 * pad - kernel_h) / stride + 1 && out_w == (in_w + 2 * pad - kernel_w) / stride + 1 &&
           kernel_h * kernel_w * in_c <= 0x8000 && kernel_h * kernel_w * out_c <= 0x8000 && out_h * out_w <= 0x4000;
  }
};

// x [in], y [out], weights [in, out].
struct DenseShape {
  int32_t in, out;

  constexpr int32_t weights() const { return in * out; }
  constexpr bool valid() const { return in > 0 && out > 0 && in <= 0x8000 && out <= 0x8000; }
};

// 2x2 windows with stride 2: x [h, w, c], y [h / 2, w / 2, c]; an odd last row or column of x is not read. The winner
// of each window (0 to 3, row by row; the first of equals) is two bits: element e of y in bits 2 (e mod 4) of byte e
// / 4.
struct PoolShape {
  int32_t h, w, c;

  constexpr int32_t in_size() const { return h * w * c; }
  constexpr int32_t out_size() const { return (h / 2) * (w / 2) * c; }
  constexpr int32_t winner_bytes() const { return (out_size() + 3) / 4; }
};

}  // namespace ftte
