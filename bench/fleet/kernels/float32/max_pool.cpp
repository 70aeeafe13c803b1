#include "engine/float32/max_pool.hpp"

#include "engine/float32/bits.hpp"
#include "engine/float32/walk.hpp"
#include "scratch.hpp"
#include "vectors.hpp"

namespace ftte::float32 {
namespace {

using host::kLanes;
using Ints = host::Vector<int32_t>;

// The order of floats as engine/float32/bits.hpp has it, as signed numbers.
Ints order_of(const float* from) {
  Ints bits;
  std::memcpy(&bits, from, sizeof bits);
  return bits ^ ((bits >> 31) & INT32_MAX);
}

// Eight neighbouring channels of a window: the greatest of each, and the tap of the first such.
struct Champions {
  Ints order, place;
};

Champions champions_of(const PoolShape& s, int32_t origin, const Inside& inside, const float* x) {
  const int32_t first = inside.top * s.kernel_w + inside.left;
  const int32_t start = origin + inside.top * s.in_w + inside.left;
  Champions best{order_of(x + start * s.channels), host::all<int32_t>(first)};
  for_tap_rows(s, origin, inside, [&](int32_t tap, int32_t at, int32_t n) {
    for (int32_t i = 0; i < n; ++i) {
      const Ints order = order_of(x + (at + i) * s.channels);
      const Ints beaten = order > best.order;
      best.place = (beaten & (tap + i)) | (~beaten & best.place);
      best.order = (beaten & order) | (~beaten & best.order);
    }
  });
  return best;
}

// x with room for whole vectors behind it.
const float* roomy(const PoolShape& s, const float* x) {
  thread_local host::Scratch scratch;
  float* const copy = scratch.of<float>(s.in_size() + kLanes);
  std::memcpy(copy, x, sizeof(float) * static_cast<size_t>(s.in_size()));
  host::store<float>(copy + s.in_size(), host::Vector<float>{});
  return copy;
}

// `places` has zeros behind its n.
[[gnu::always_inline]] inline void pack(int32_t n, int32_t width, const int32_t* places, uint8_t* winners) {
  const int32_t each = 8 / width;
  for (int32_t first = 0; first < n; first += each) {
    uint32_t packed = 0;
    for (int32_t i = 0; i < each; ++i) packed |= static_cast<uint32_t>(places[first + i]) << (i * width);
    *winners++ = static_cast<uint8_t>(packed);
  }
}

}  // namespace

void max_pool(const PoolShape& shape, const float* x, float* y, uint8_t* winners) {
  thread_local host::Scratch values_scratch;
  thread_local host::Scratch places_scratch;
  // A position's last vector reaches into the next one's, which is written after it.
  int32_t* const values = values_scratch.of<int32_t>(shape.out_size() + kLanes);
  int32_t* const places = places_scratch.of<int32_t>(shape.out_size() + kLanes);
  const float* const map = shape.channels % kLanes == 0 ? x : roomy(shape, x);
  for_windows(shape, [&](int32_t position, int32_t origin, const Inside& inside) {
    for (int32_t c = 0; c < shape.channels; c += kLanes) {
      const Champions best = champions_of(shape, origin, inside, map + c);
      const int32_t at = position * shape.channels + c;
      host::store<int32_t>(values + at, best.order ^ ((best.order >> 31) & INT32_MAX));
      host::store<int32_t>(places + at, best.place);
    }
  });
  std::memcpy(y, values, sizeof(float) * static_cast<size_t>(shape.out_size()));
  if (winners == nullptr) return;
  host::store<int32_t>(places + shape.out_size(), Ints{});
  switch (shape.winner_bits()) {
    case 2:
      return pack(shape.out_size(), 2, places, winners);
    case 4:
      return pack(shape.out_size(), 4, places, winners);
    default:
      return pack(shape.out_size(), 8, places, winners);
  }
}

}  // namespace ftte::float32
