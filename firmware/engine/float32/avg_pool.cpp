#include "engine/float32/avg_pool.hpp"

#include "engine/float32/dot.hpp"
#include "engine/float32/walk.hpp"

namespace ftte::float32 {

void avg_pool(const PoolShape& shape, const float* x, float* y) {
  const int32_t channels = shape.channels;
  const float share = 1.0F / static_cast<float>(shape.taps());
  for_windows(shape, [&](int32_t position, int32_t origin, const Inside& inside) {
    in_blocks(channels, [&](auto width, int32_t c) {
      float sum[width] = {};
      for_tap_rows(shape, origin, inside, [&](int32_t tap, int32_t at, int32_t n) {
        static_cast<void>(tap);
        add_elements<width>(x + at * channels + c, channels, n, sum);
      });
      float* const out = y + position * channels + c;
      unrolled<width>([&](int32_t j) { out[j] = sum[j] * share; });
    });
  });
}

}  // namespace ftte::float32
