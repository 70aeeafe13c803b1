#include "engine/int8/widen.hpp"

namespace ftte::int8 {

void widen(int32_t n, const int8_t* x, int32_t* y) {
  for (int32_t i = 0; i < n; ++i) y[i] = x[i];
}

}  // namespace ftte::int8
