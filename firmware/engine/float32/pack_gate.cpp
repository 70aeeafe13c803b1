#include "engine/float32/pack_gate.hpp"

namespace ftte::float32 {

void pack_gate(int32_t n, const float* y, Range range, uint8_t* bits) {
  const Bounds bounds(range);
  for (int32_t first = 0; first < n; first += 8) {
    const int32_t count = n - first < 8 ? n - first : 8;
    uint32_t packed = 0;
    for (int32_t i = 0; i < count; ++i) packed |= bounds.inside(*y++) << i;
    *bits++ = static_cast<uint8_t>(packed);
  }
}

}  // namespace ftte::float32
