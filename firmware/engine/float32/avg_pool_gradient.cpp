#include "engine/float32/avg_pool_gradient.hpp"

#include "engine/float32/dot.hpp"
#include "engine/float32/gate.hpp"
#include "engine/float32/walk.hpp"

namespace ftte::float32 {

void avg_pool_gradient(const PoolShape& shape, const float* gy, const uint8_t* gate, float* gx) {
  const int32_t channels = shape.channels;
  const float share = 1.0F / static_cast<float>(shape.taps());
  for_inputs(shape, [&](int32_t position, const Reach& row, const Reach& column) {
    in_blocks(channels, [&](auto width, int32_t c) {
      float sum[width] = {};
      for_reached_rows(shape, row, column, [&](int32_t tap, int32_t at, int32_t n) {
        static_cast<void>(tap);
        add_elements<width>(gy + at * channels + c, -channels, n, sum);
      });
      const int32_t element = position * channels + c;
      unrolled<width>([&](int32_t j) { gx[element + j] = gated(sum[j] * share, gate, element + j); });
    });
  });
}

}  // namespace ftte::float32
