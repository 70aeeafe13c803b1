#include "engine/int8/max_pool.hpp"

#include "pool.hpp"

namespace ftte::int8 {

void max_pool(const PoolShape& shape, const int8_t* x, int8_t* y, uint8_t* winners) {
  constexpr int32_t kCount = 16;
  const int8_t* const map = host::roomy<kCount>(shape, x);
  const auto champions = host::champions_for<int8_t, kCount>(shape);
  champions.find(shape, [=](int32_t at) { return host::load<int8_t, kCount>(map + at); });
  std::memcpy(y, champions.order, static_cast<size_t>(shape.out_size()));
  if (winners != nullptr) champions.pack_all(shape, winners);
}

}  // namespace ftte::int8
