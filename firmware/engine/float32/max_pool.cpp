#include "engine/float32/max_pool.hpp"

#include "engine/float32/bits.hpp"

namespace ftte::float32 {
namespace {

struct Champion {
  uint32_t order;
  int32_t bits;
  uint32_t place;
};

// The challenger takes the place if it is greater, without a branch.
inline void challenge(float challenger, uint32_t place, Champion& champion) {
  const uint32_t order = order_of(challenger);
  const uint32_t beaten = below(champion.order, order);
  champion.order ^= (champion.order ^ order) & beaten;
  champion.bits ^= (champion.bits ^ bits_of(challenger)) & static_cast<int32_t>(beaten);
  champion.place ^= (champion.place ^ place) & beaten;
}

inline float keep_if(float value, uint32_t place, uint32_t winner) {
  return from_bits(bits_of(value) & (static_cast<int32_t>((place ^ winner) - 1U) >> 31));
}

}  // namespace

void max_pool(const PoolShape& shape, const float* x, float* y, uint8_t* winners) {
  const int32_t row = shape.w * shape.c;
  uint32_t element = 0;
  uint32_t packed = 0;
  for (int32_t oy = 0; oy < shape.h / 2; ++oy) {
    const float* window = x + 2 * oy * row;
    for (int32_t ox = 0; ox < shape.w / 2; ++ox, window += shape.c) {
      for (int32_t c = 0; c < shape.c; ++c, ++window) {
        Champion champion{order_of(window[0]), bits_of(window[0]), 0};
        challenge(window[shape.c], 1, champion);
        challenge(window[row], 2, champion);
        challenge(window[row + shape.c], 3, champion);
        *y++ = from_bits(champion.bits);
        const uint32_t bit = 2 * (element & 3U);
        packed = (packed & ((1U << bit) - 1U)) | (champion.place << bit);
        winners[element >> 2] = static_cast<uint8_t>(packed);
        ++element;
      }
    }
  }
}

void max_pool_gradient(const PoolShape& shape, const float* gy, const uint8_t* winners, float* gx) {
  const int32_t row = shape.w * shape.c;
  uint32_t element = 0;
  for (int32_t oy = 0; oy < shape.h / 2; ++oy) {
    float* window = gx + 2 * oy * row;
    for (int32_t ox = 0; ox < shape.w / 2; ++ox, window += shape.c) {
      for (int32_t c = 0; c < shape.c; ++c, ++window) {
        const float value = *gy++;
        const uint32_t winner = (static_cast<uint32_t>(winners[element >> 2]) >> (2 * (element & 3U))) & 3U;
        ++element;
        window[0] = keep_if(value, 0, winner);
        window[shape.c] = keep_if(value, 1, winner);
        window[row] = keep_if(value, 2, winner);
        window[row + shape.c] = keep_if(value, 3, winner);
      }
    }
    if ((shape.w & 1) != 0) {
      for (int32_t c = 0; c < shape.c; ++c) window[c] = window[row + c] = 0.0F;
    }
  }
  if ((shape.h & 1) != 0) {
    for (int32_t i = 0; i < row; ++i) gx[(shape.h - 1) * row + i] = 0.0F;
  }
}

}  // namespace ftte::float32
