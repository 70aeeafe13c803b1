#include "engine/int8/pack_gate.hpp"

namespace ftte::int8 {

void pack_gate(int32_t n, const int8_t* y, Range range, uint8_t* bits) {
  const int32_t low = range.low;
  const int32_t high = range.high == INT8_MAX ? INT8_MAX + 1 : range.high;
  for (int32_t first = 0; first < n; first += 8) {
    const int32_t count = n - first < 8 ? n - first : 8;
    uint32_t byte = 0;
    for (int32_t i = 0; i < count; ++i) {
      const int32_t value = *y++;
      // Both differences are negative inside the range.
      byte |= (static_cast<uint32_t>((low - value) & (value - high)) >> 31) << i;
    }
    *bits++ = static_cast<uint8_t>(byte);
  }
}

}  // namespace ftte::int8
