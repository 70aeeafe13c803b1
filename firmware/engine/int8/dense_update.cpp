#include "engine/int8/dense_update.hpp"

namespace ftte::int8 {

void dense_update(const DenseShape& shape, Sgd& sgd, uint32_t stream, const int8_t* gy, int32_t gy_exponent,
                  const int8_t* x, int32_t x_exponent, const WeightTensor& weights) {
  const int32_t exponent = weights.exponent + kResidualBits - gy_exponent - x_exponent;
  WeightUpdate update(update_scale(sgd.learning_rate_q16, exponent, 1), sgd.seed, stream);
  int8_t* q = weights.values;
  int8_t* r = weights.residuals;
  for (int32_t i = 0; i < shape.in; ++i) {
    const int32_t input = x[i];
    for (int32_t o = 0; o < shape.out; ++o) update.apply(*q++, *r++, input * gy[o]);
  }
  sgd.saturated += update.saturated();
}

}  // namespace ftte::int8
