// Loops over channels in blocks that the compiler keeps in registers.
#pragma once

#include <cstdint>
#include <type_traits>

namespace ftte {

// body(0), body(1), ... body(kCount - 1), written out: at -O2 GCC would keep a loop, and its accumulators in memory.
template <int32_t kCount, typename Body>
[[gnu::always_inline]] inline void unrolled(const Body& body) {
  if constexpr (kCount > 0) {
    unrolled<kCount - 1>(body);
    body(kCount - 1);
  }
}

template <int32_t kWidth>
using Width = std::integral_constant<int32_t, kWidth>;

// body(Width<w>, first) for blocks [first, first + w) that together are [0, count): of four, and at last of two and
// one. In a block of four, one load of the shared operand serves four products, and an M0's registers still suffice.
template <typename Body>
[[gnu::always_inline]] inline void in_blocks(int32_t count, const Body& body) {
  int32_t first = 0;
  for (; first + 4 <= count; first += 4) body(Width<4>{}, first);
  if ((count & 2) != 0) {
    body(Width<2>{}, first);
    first += 2;
  }
  if ((count & 1) != 0) body(Width<1>{}, first);
}

}  // namespace ftte
