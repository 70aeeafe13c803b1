#include "engine/float32/update_bias.hpp"

#include "engine/float32/dot.hpp"

namespace ftte::float32 {

template <class Rule>
void update_bias(float learning_rate, const float* gy, int32_t positions, int32_t channels, float* bias) {
  in_blocks(channels, [&](auto width, int32_t c) {
    float sum[width] = {};
    add_elements<width>(gy + c, channels, positions, sum);
    unrolled<width>([&](int32_t j) { Rule::apply(learning_rate, sum[j], bias[c + j]); });
  });
}

template void update_bias<Immediate>(float, const float*, int32_t, int32_t, float*);
template void update_bias<Accumulated>(float, const float*, int32_t, int32_t, float*);

}  // namespace ftte::float32
