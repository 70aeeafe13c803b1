#include "engine/float32/add.hpp"

namespace ftte::float32 {

void add(int32_t n, const float* a, const float* b, Range range, float* y) {
  const Bounds bounds(range);
  for (int32_t i = 0; i < n; ++i) y[i] = bounds.clamp(a[i] + b[i]);
}

}  // namespace ftte::float32
