// The champions of max-pool windows: lanes are channels.
#pragma once

#include "engine/float32/walk.hpp"
#include "engine/shapes.hpp"
#include "scratch.hpp"
#include "vectors.hpp"

namespace ftte::host {

// What wins is the greatest of numbers of type Order, and of equals the first. A vector of kCount channels reaches into
// the next position's, which are written after it: `order` and `place` (its tap) have room for one more vector.
template <class Order, int32_t kCount>
struct Champions {
  Order* order;
  Order* place;

  // order_at(element of x): those of kCount neighbours, which may reach beyond the map by as many.
  template <class OrderAt>
  void find(const PoolShape& s, const OrderAt& order_at) const {
    using Vector = host::Vector<Order, kCount>;
    float32::for_windows(s, [&](int32_t position, int32_t origin, const float32::Inside& inside) {
      const int32_t first = inside.top * s.kernel_w + inside.left;
      const int32_t start = (origin + inside.top * s.in_w + inside.left) * s.channels;
      for (int32_t c = 0; c < s.channels; c += kCount) {
        Vector best = order_at(start + c);
        Vector winner = all<Order, kCount>(static_cast<Order>(first));
        float32::for_tap_rows(s, origin, inside, [&](int32_t tap, int32_t at, int32_t n) {
          for (int32_t i = 0; i < n; ++i) {
            const Vector found = order_at((at + i) * s.channels + c);
            const Vector beaten = found > best;
            winner = (beaten & all<Order, kCount>(static_cast<Order>(tap + i))) | (~beaten & winner);
            best = (beaten & found) | (~beaten & best);
          }
        });
        store<Order, kCount>(order + position * s.channels + c, best);
        store<Order, kCount>(place + position * s.channels + c, winner);
      }
    });
  }

  // The places of n elements, kWidth bits each, from the lowest bit of the first byte on.
  template <int32_t kWidth>
  void pack(int32_t n, uint8_t* winners) const {
    constexpr int32_t kEach = 8 / kWidth;
    for (int32_t first = 0; first < n; first += kEach) {
      uint32_t packed = 0;
      for (int32_t i = 0; i < kEach; ++i) {
        packed |= static_cast<uint32_t>(static_cast<uint8_t>(place[first + i])) << (i * kWidth);
      }
      *winners++ = static_cast<uint8_t>(packed);
    }
  }

  void pack_all(const PoolShape& s, uint8_t* winners) const {
    store<Order, kCount>(place + s.out_size(), Vector<Order, kCount>{});
    switch (s.winner_bits()) {
      case 2:
        return pack<2>(s.out_size(), winners);
      case 4:
        return pack<4>(s.out_size(), winners);
      default:
        return pack<8>(s.out_size(), winners);
    }
  }
};

// Room for those of a shape.
template <class Order, int32_t kCount>
Champions<Order, kCount> champions_for(const PoolShape& s) {
  thread_local Scratch orders;
  thread_local Scratch places;
  return {orders.of<Order>(s.out_size() + kCount), places.of<Order>(s.out_size() + kCount)};
}

// x, or a copy with room for a vector behind it where vectors reach beyond a position.
template <int32_t kCount, class T>
const T* roomy(const PoolShape& s, const T* x) {
  if (s.channels % kCount == 0) return x;
  thread_local Scratch scratch;
  T* const copy = scratch.of<T>(s.in_size() + kCount);
  std::memcpy(copy, x, sizeof(T) * static_cast<size_t>(s.in_size()));
  store<T, kCount>(copy + s.in_size(), Vector<T, kCount>{});
  return copy;
}

}  // namespace ftte::host
