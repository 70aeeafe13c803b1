// avg_pool_gradient (engine/int8/avg_pool_gradient.hpp) for one layer of a program, whose shape is constant: the same
// bits. On Cortex-M, where windows tile the input (global pooling is such a tile): each element of gx has
// one product, stored by gradient_store.hpp. Otherwise the general kernel.
#pragma once

#include "engine/int8/avg_pool_gradient.hpp"
#include "engine/int8/fast/gradient_store.hpp"

namespace ftte::int8::fast {

#ifdef FTTE_BLOCKS

constexpr bool is_tiling(const PoolShape& s) {
  return s.channels % 4 == 0 && s.pad_top == 0 && s.pad_left == 0 && s.stride_h == s.kernel_h &&
         s.stride_w == s.kernel_w && s.out_h * s.kernel_h == s.in_h && s.out_w * s.kernel_w == s.in_w;
}

// Returns the exponent of gx less that of gy.
int32_t tiling_gradient(Sgd& sgd, const PoolShape& shape, const int8_t* gy, const uint8_t* gate, uint32_t* peak,
                        int8_t* gx);

#endif

// Layer: kShape. Never inlined: a program's calls are counted one by one (bench/compiler/marks.py).
// On an M4: about 24 instructions an element of gx.
template <class Layer>
[[gnu::noinline]] int32_t avg_pool_gradient(Sgd& sgd, const int8_t* gy, int32_t gy_exponent, const uint8_t* gate,
                                            uint32_t* peak, int8_t* gx) {
#ifdef FTTE_BLOCKS
  if constexpr (is_tiling(Layer::kShape)) {
    return gy_exponent + tiling_gradient(sgd, Layer::kShape, gy, gate, peak, gx);
  }
#endif
  return int8::avg_pool_gradient(sgd, Layer::kShape, gy, gy_exponent, gate, peak, gx);
}

}  // namespace ftte::int8::fast
