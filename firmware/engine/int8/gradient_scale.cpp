#include "engine/int8/gradient_scale.hpp"

namespace ftte::int8 {

void GradientStore::put(const int32_t* sums, int32_t n) {
  GradientStore local = *this;  // in registers: a store through gx could write to the members
  for (const int32_t* const end = sums + n; sums != end; ++sums) local.put(*sums);
  *this = local;
}

int32_t GradientStore::finish(Sgd& sgd, uint32_t* peak) const {
  *peak = next_peak(*peak, largest_);
  sgd.saturated += clipped_;
  return shift_;
}

}  // namespace ftte::int8
