#include "engine/float32/max_pool.hpp"

#include "engine/blocks.hpp"
#include "engine/float32/bits.hpp"
#include "engine/float32/walk.hpp"

namespace ftte::float32 {

void max_pool(const PoolShape& shape, const float* x, float* y, uint8_t* winners) {
  const int32_t channels = shape.channels;
  const int32_t width = shape.winner_bits();
  uint32_t packed = 0;
  int32_t filled = 0;  // bits of `packed`
  for_windows(shape, [&](int32_t position, int32_t origin, const Inside& inside) {
    static_cast<void>(position);
    const int32_t first = inside.top * shape.kernel_w + inside.left;
    const float* start = x + (origin + inside.top * shape.in_w + inside.left) * channels;
    in_blocks(channels, [&](auto block, int32_t c) {
      Champion champions[block];
      unrolled<block>([&](int32_t j) { champions[j] = first_champion(start[c + j], static_cast<uint32_t>(first)); });
      for_tap_rows(shape, origin, inside, [&](int32_t tap, int32_t at, int32_t n) {
        const float* in = x + at * channels + c;
        for (int32_t i = 0; i < n; ++i, in += channels) {
          unrolled<block>([&](int32_t j) { challenge(in[j], static_cast<uint32_t>(tap + i), champions[j]); });
        }
      });
      unrolled<block>([&](int32_t j) { *y++ = champions[j].value(); });
      if (winners == nullptr) return;
      unrolled<block>([&](int32_t j) {
        packed |= champions[j].place << filled;
        filled += width;
        if (filled == 8) {
          *winners++ = static_cast<uint8_t>(packed);
          packed = 0;
          filled = 0;
        }
      });
    });
  });
  if (filled != 0) *winners = static_cast<uint8_t>(packed);
}

}  // namespace ftte::float32
