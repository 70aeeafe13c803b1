// Shapes of the operators, shared by the int8 and the float32 kernels. Maps are channels last, batch 1.
#pragma once

#include <cstdint>

namespace ftte {

// x [in_h, in_w, in_c], y [out_h, out_w, out_c], weights [out_c, kernel_h, kernel_w, in_c / groups]; depthwise (groups
// == in_c == out_c) weights [kernel_h, kernel_w, in_c]. What lies outside x is zero. A fully connected layer is a
// convolution whose kernel covers its whole input once.
struct Conv2dShape {
  int32_t in_h, in_w, in_c;
  int32_t out_h, out_w, out_c;
  int32_t kernel_h, kernel_w;
  int32_t stride_h, stride_w;
  int32_t pad_top, pad_left;
  int32_t groups;

  constexpr int32_t in_size() const { return in_h * in_w * in_c; }
  constexpr int32_t out_size() const { return out_h * out_w * out_c; }
  constexpr int32_t positions() const { return out_h * out_w; }
  constexpr int32_t taps() const { return kernel_h * kernel_w; }
  constexpr int32_t group_in() const { return in_c / groups; }
  constexpr int32_t group_out() const { return out_c / groups; }
  // Every window lies inside x, and neighbouring windows need no copy: a 1x1 kernel, or one that covers x once.
  constexpr bool reads_directly() const {
    if (pad_top != 0 || pad_left != 0) return false;
    return taps() == 1 || (kernel_h == in_h && kernel_w == in_w && positions() == 1);
  }
};

// x [in_h, in_w, channels], y [out_h, out_w, channels]. The winner of each window of a max-pool (its tap, row by row;
// the first of equals) takes winner_bits(), packed from the lowest bit of the first byte on.
struct PoolShape {
  int32_t in_h, in_w, channels;
  int32_t out_h, out_w;
  int32_t kernel_h, kernel_w;
  int32_t stride_h, stride_w;
  int32_t pad_top, pad_left;

  constexpr int32_t in_size() const { return in_h * in_w * channels; }
  constexpr int32_t out_size() const { return out_h * out_w * channels; }
  constexpr int32_t taps() const { return kernel_h * kernel_w; }
  constexpr int32_t winner_bits() const { return taps() <= 4 ? 2 : taps() <= 16 ? 4 : 8; }
  constexpr int32_t winner_bytes() const { return (out_size() * winner_bits() + 7) / 8; }
  constexpr bool overlaps() const { return stride_h < kernel_h || stride_w < kernel_w; }
};

// x [in_h, in_w, channels], y [out_h, out_w, channels]: y[i][j] = x[i / factor][j / factor].
struct UpsampleShape {
  int32_t in_h, in_w, channels;
  int32_t out_h, out_w;
  int32_t factor;

  constexpr int32_t in_size() const { return in_h * in_w * channels; }
  constexpr int32_t out_size() const { return out_h * out_w * channels; }
};

// Weights of a layer of which the first `trained_in` input channels of each group train and lie in RAM (of a depthwise
// layer: the first `trained_in` channels), the rest in flash. Laid out alike; a part without elements may be null.
template <typename T>
struct Weights {
  const T* trained;
  const T* frozen;
  int32_t trained_in;
};

// One bit an element.
constexpr int32_t gate_bytes(int32_t elements) { return (elements + 7) / 8; }

// Elements of scratch that conv2d needs: one window's content.
constexpr int32_t conv2d_scratch(const Conv2dShape& shape) {
  return shape.reads_directly() ? 0 : shape.taps() * shape.in_c;
}

}  // namespace ftte
