#include "engine/int8/max_pool.hpp"

namespace ftte::int8 {
namespace {

// Keeps (value, winner) if nothing beats it, else takes the challenger, without a branch.
inline void challenge(int32_t challenger, int32_t place, int32_t& value, int32_t& winner) {
  const int32_t beaten = (value - challenger) >> 31;
  value ^= (value ^ challenger) & beaten;
  winner ^= (winner ^ place) & beaten;
}

}  // namespace

void max_pool(const PoolShape& shape, const int8_t* x, int8_t* y, uint8_t* winners) {
  const int32_t row = shape.w * shape.c;
  uint32_t element = 0;
  uint32_t packed = 0;
  for (int32_t oy = 0; oy < shape.h / 2; ++oy) {
    const int8_t* window = x + 2 * oy * row;
    for (int32_t ox = 0; ox < shape.w / 2; ++ox, window += shape.c) {
      for (int32_t c = 0; c < shape.c; ++c, ++window) {
        int32_t value = window[0];
        int32_t winner = 0;
        challenge(window[shape.c], 1, value, winner);
        challenge(window[row], 2, value, winner);
        challenge(window[row + shape.c], 3, value, winner);
        *y++ = static_cast<int8_t>(value);
        // Four winners pass through `packed`; storing each time spares the test for a full byte and the last remainder.
        const uint32_t bit = 2 * (element & 3U);
        packed = (packed & ((1U << bit) - 1U)) | (static_cast<uint32_t>(winner) << bit);
        winners[element >> 2] = static_cast<uint8_t>(packed);
        ++element;
      }
    }
  }
}

void max_pool_gradient(const PoolShape& shape, const int8_t* gy, const uint8_t* winners, int8_t* gx) {
  const int32_t row = shape.w * shape.c;
  uint32_t element = 0;
  for (int32_t oy = 0; oy < shape.h / 2; ++oy) {
    int8_t* window = gx + 2 * oy * row;
    for (int32_t ox = 0; ox < shape.w / 2; ++ox, window += shape.c) {
      for (int32_t c = 0; c < shape.c; ++c, ++window) {
        const int32_t value = *gy++;
        const auto winner = static_cast<int32_t>((winners[element >> 2] >> (2 * (element & 3U))) & 3U);
        ++element;
        // (place ^ winner) - 1 is negative for the winner alone.
        window[0] = static_cast<int8_t>(value & (((0 ^ winner) - 1) >> 31));
        window[shape.c] = static_cast<int8_t>(value & (((1 ^ winner) - 1) >> 31));
        window[row] = static_cast<int8_t>(value & (((2 ^ winner) - 1) >> 31));
        window[row + shape.c] = static_cast<int8_t>(value & (((3 ^ winner) - 1) >> 31));
      }
    }
    if ((shape.w & 1) != 0) {
      for (int32_t c = 0; c < shape.c; ++c) window[c] = window[row + c] = 0;
    }
  }
  if ((shape.h & 1) != 0) {
    for (int32_t i = 0; i < row; ++i) gx[(shape.h - 1) * row + i] = 0;
  }
}

}  // namespace ftte::int8
