#include "engine/int8/dense_update.hpp"

namespace ftte::int8 {

void dense_update(const DenseShape& shape, Sgd& sgd, uint32_t stream, const int8_t* gy, int32_t gy_exponent,
                  const int8_t* x, int32_t x_exponent, const WeightTensor& weights) {
  const int32_t exponent = weights.exponent + kResidualBits - gy_exponent - x_exponent;
  WeightUpdate update(update_scale(sgd.learning_rate_q16, exponent, 1), sgd.seed, stream);
  int8_t* q = weights.values;
  int8_t* r = weights.residuals;
  const int8_t* const gy_end = gy + shape.out;
  for (const int8_t* const x_end = x + shape.in; x != x_end;) {
    // Once a row: (x * multiplier) * gy is the same number as (x * gy) * multiplier.
    const int32_t scaled = update.product(*x++);
    for (const int8_t* g = gy; g != gy_end; ++g) update.apply(*q++, *r++, scaled * *g);
  }
  sgd.saturated += update.saturated();
}

}  // namespace ftte::int8
