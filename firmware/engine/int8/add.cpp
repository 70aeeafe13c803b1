#include "engine/int8/add.hpp"

#include "engine/int8/requantise.hpp"

namespace ftte::int8 {

void add(int32_t n, const int8_t* a, const int8_t* b, AddScale scale, Range range, int8_t* y) {
  const int32_t a_unit = 1 << scale.a_left;
  const int32_t b_unit = 1 << scale.b_left;
  for (int32_t i = 0; i < n; ++i) y[i] = requantise(a[i] * a_unit + b[i] * b_unit, scale.right, range);
}

}  // namespace ftte::int8
