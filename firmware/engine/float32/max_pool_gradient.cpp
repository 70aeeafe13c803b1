#include "engine/float32/max_pool_gradient.hpp"

#include "engine/float32/gate.hpp"
#include "engine/float32/walk.hpp"

namespace ftte::float32 {

void max_pool_gradient(const PoolShape& shape, const float* gy, const uint8_t* winners, const uint8_t* gate,
                       float* gx) {
  const int32_t channels = shape.channels;
  const int32_t width = shape.winner_bits();
  const int32_t mask = (1 << width) - 1;
  // tap / kernel_w as a product, as a core's division takes a time that depends on the operands: exact for taps and
  // kernels up to 256, as the reciprocal is too large by less than kernel_w / 2^16.
  const int32_t reciprocal = ((1 << 16) + shape.kernel_w - 1) / shape.kernel_w;
  const int32_t elements = shape.in_size();
  for (int32_t i = 0; i < elements; ++i) gx[i] = 0.0F;
  int32_t bit = 0;
  for_windows(shape, [&](int32_t position, int32_t origin, const Inside& inside) {
    static_cast<void>(position);
    static_cast<void>(inside);
    for (int32_t c = 0; c < channels; ++c, bit += width) {
      const int32_t tap = (winners[bit >> 3] >> (bit & 7)) & mask;
      const int32_t ky = (tap * reciprocal) >> 16;
      const int32_t kx = tap - ky * shape.kernel_w;
      gx[(origin + ky * shape.in_w + kx) * channels + c] += *gy++;
    }
  });
  if (gate == nullptr) return;
  for (int32_t i = 0; i < elements; ++i) gx[i] = gated(gx[i], gate, i);
}

}  // namespace ftte::float32
