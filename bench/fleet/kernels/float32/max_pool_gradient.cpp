#include "engine/float32/max_pool_gradient.hpp"

#include "engine/float32/walk.hpp"
#include "gates.hpp"
#include "scratch.hpp"
#include "vectors.hpp"

namespace ftte::float32 {
namespace {

using host::kLanes;

template <int32_t kWidth>
void unpack(int32_t n, const uint8_t* winners, int32_t* places) {
  constexpr int32_t kEach = 8 / kWidth;
  for (int32_t i = 0; i < n; i += kEach, ++winners) {
    for (int32_t j = 0; j < kEach; ++j) places[i + j] = (*winners >> (j * kWidth)) & ((1 << kWidth) - 1);
  }
}

// The winner's tap of each output, with room for a vector behind.
const int32_t* places_of(const PoolShape& s, const uint8_t* winners) {
  thread_local host::Scratch scratch;
  int32_t* const places = scratch.of<int32_t>(s.out_size() + kLanes);
  switch (s.winner_bits()) {
    case 2:
      unpack<2>(s.out_size(), winners, places);
      break;
    case 4:
      unpack<4>(s.out_size(), winners, places);
      break;
    default:
      unpack<8>(s.out_size(), winners, places);
      break;
  }
  return places;
}

bool tiles(const PoolShape& s) {
  return s.pad_top == 0 && s.pad_left == 0 && s.stride_h == s.kernel_h && s.stride_w == s.kernel_w &&
         s.out_h * s.kernel_h == s.in_h && s.out_w * s.kernel_w == s.in_w;
}

// Windows that tile the map: each input has one, so it is written once. Upwards through the map, for a vector may reach
// into the next position's channels.
void tiled(const PoolShape& s, const float* gy, const uint8_t* winners, float* gx) {
  thread_local host::Scratch slopes_scratch;
  thread_local host::Scratch map_scratch;
  const int32_t* const places = places_of(s, winners);
  float* const slopes = slopes_scratch.of<float>(s.out_size() + kLanes);
  std::memcpy(slopes, gy, sizeof(float) * static_cast<size_t>(s.out_size()));
  float* const map = map_scratch.of<float>(s.in_size() + kLanes);
  float* to = map;
  for (int32_t y = 0; y < s.in_h; ++y) {
    const int32_t row = y / s.kernel_h * s.out_w * s.channels;
    int32_t tap = y % s.kernel_h * s.kernel_w;
    for (int32_t ox = 0; ox < s.out_w; ++ox) {
      const int32_t from = row + ox * s.channels;
      for (int32_t kx = 0; kx < s.kernel_w; ++kx, to += s.channels) {
        for (int32_t c = 0; c < s.channels; c += kLanes) {
          const auto won = host::load<int32_t>(places + from + c) == host::all<int32_t>(tap + kx);
          const auto slope = host::load<float>(slopes + from + c) + 0.0F;  // as added to zero: no negative zero
          host::store<float>(to + c, won ? slope : host::Vector<float>{});
        }
      }
    }
  }
  std::memcpy(gx, map, sizeof(float) * static_cast<size_t>(s.in_size()));
}

void scattered(const PoolShape& s, const float* gy, const uint8_t* winners, float* gx) {
  const int32_t* places = places_of(s, winners);
  std::memset(gx, 0, sizeof(float) * static_cast<size_t>(s.in_size()));
  for_windows(s, [&](int32_t position, int32_t origin, const Inside& inside) {
    static_cast<void>(position);
    static_cast<void>(inside);
    for (int32_t c = 0; c < s.channels; ++c, ++places) {
      gx[(origin + *places / s.kernel_w * s.in_w + *places % s.kernel_w) * s.channels + c] += *gy++;
    }
  });
}

}  // namespace

void max_pool_gradient(const PoolShape& shape, const float* gy, const uint8_t* winners, const uint8_t* gate,
                       float* gx) {
  if (tiles(shape)) {
    tiled(shape, gy, winners, gx);
  } else {
    scattered(shape, gy, winners, gx);
  }
  host::apply_gate(shape.in_size(), gate, gx);
}

}  // namespace ftte::float32
