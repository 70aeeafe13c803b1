#include "engine/int8/depthwise2d_input_gradient.hpp"

#include "engine/int8/gradient_sums.hpp"

namespace ftte::int8 {
namespace {

// Channels whose weights lie together: those trained, or those frozen. The other pointers begin with their channels.
struct Part {
  const int8_t* weights;  // [taps][channels]
  const int8_t* gy;
  const int8_t* lift;
  int32_t channels;
};

// The sums of kWidth channels at one position; a function of its own for the sake of its registers.
template <int32_t kWidth>
[[gnu::noinline]] void sums_at(const Conv2dShape& s, const Reach& row, const Reach& column, const Part& part,
                               int32_t first, int32_t* sums) {
  int32_t sum[kWidth] = {};
  for_reached(s, row, column, [&](int32_t tap, int32_t position) {
    multiply_elements<kWidth>(part.gy + position * s.out_c + first, part.weights + tap * part.channels + first, sum);
  });
  unrolled<kWidth>([&](int32_t j) { sums[j] = lifted(sum[j], part.lift[first + j]); });
}

}  // namespace

int32_t depthwise2d_input_gradient(Sgd& sgd, const Conv2dShape& shape, const int8_t* gy, int32_t gy_exponent,
                                   const Weights<int8_t>& weights, const int8_t* lift, int32_t weights_exponent,
                                   const uint8_t* gate, uint32_t* peak, int8_t* gx) {
  const int32_t trained = weights.trained_in;
  const Part parts[] = {{weights.trained, gy, lift, trained},
                        {weights.frozen, gy + trained, lift + trained, shape.in_c - trained}};
  GradientStore store(sgd, gate, *peak, gx);
  for_inputs(shape, [&](const Reach& row, const Reach& column) {
    for (const Part& part : parts) {
      store_sums(store, part.channels,
                 [&](auto width, int32_t i, int32_t* sums) { sums_at<width>(shape, row, column, part, i, sums); });
    }
  });
  return gy_exponent + weights_exponent - store.finish(sgd, peak);
}

}  // namespace ftte::int8
