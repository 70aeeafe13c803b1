#include "engine/float32/widen_sample.hpp"

namespace ftte::float32 {

void widen_sample(int32_t n, const int8_t* sample, float scale, float* x) {
  for (int32_t i = 0; i < n; ++i) x[i] = static_cast<float>(sample[i]) * scale;
}

}  // namespace ftte::float32
