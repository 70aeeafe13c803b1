#include "engine/float32/max_pool.hpp"

#include "pool.hpp"

namespace ftte::float32 {
namespace {

// The order of floats as engine/float32/bits.hpp has it, as signed numbers; its own inverse.
template <class Bits>
[[gnu::always_inline]] inline Bits ordered(Bits bits) {
  return bits ^ ((bits >> 31) & INT32_MAX);
}

}  // namespace

void max_pool(const PoolShape& shape, const float* x, float* y, uint8_t* winners) {
  const float* const map = host::roomy<host::kLanes>(shape, x);
  const auto champions = host::champions_for<int32_t, host::kLanes>(shape);
  champions.find(shape, [=](int32_t at) {
    host::Vector<int32_t> bits;
    std::memcpy(&bits, map + at, sizeof bits);
    return ordered(bits);
  });
  for (int32_t i = 0; i < shape.out_size(); ++i) {
    const int32_t bits = ordered(champions.order[i]);
    std::memcpy(y + i, &bits, sizeof bits);
  }
  if (winners != nullptr) champions.pack_all(shape, winners);
}

}  // namespace ftte::float32
