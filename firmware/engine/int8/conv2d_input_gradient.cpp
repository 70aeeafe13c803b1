#include "engine/int8/conv2d_input_gradient.hpp"

#include "engine/int8/gradient_sums.hpp"

namespace ftte::int8 {
namespace {

// Input channels of a group whose weights lie together: those trained, or those frozen.
struct Part {
  const int8_t* weights;  // [out_c][taps][channels]
  int32_t channels;
};

// What one group has to do with one part of its input channels; the pointers begin with the group.
struct Products {
  const int8_t* gy;
  const int8_t* lift;
  const int8_t* weights;
  int32_t outputs;
  int32_t channels;
};

// The sums of kWidth input channels at one position. A function of its own, as only then the innermost loop gets all
// registers: inlined, it takes twice as many instructions on every core.
template <int32_t kWidth>
[[gnu::noinline]] void sums_at(const Conv2dShape& s, const Reach& row, const Reach& column, const Products& p,
                               int32_t first, int32_t* sums) {
  const int32_t step = s.taps() * p.channels;
  int32_t sum[kWidth] = {};
  for_reached(s, row, column, [&](int32_t tap, int32_t position) {
    multiply_lifted<kWidth>(p.gy + position * s.out_c, p.lift, p.weights + tap * p.channels + first, step, p.outputs,
                            sum);
  });
  unrolled<kWidth>([&](int32_t j) { sums[j] = sum[j]; });
}

}  // namespace

int32_t conv2d_input_gradient(Sgd& sgd, const Conv2dShape& shape, const int8_t* gy, int32_t gy_exponent,
                              const Weights<int8_t>& weights, const int8_t* lift, int32_t weights_exponent,
                              const uint8_t* gate, uint32_t* peak, int8_t* gx) {
  const int32_t group_out = shape.group_out();
  const Part parts[] = {{weights.trained, weights.trained_in}, {weights.frozen, shape.group_in() - weights.trained_in}};
  GradientStore store(sgd, gate, *peak, gx);
  for_inputs(shape, [&](const Reach& row, const Reach& column) {
    for (int32_t first = 0; first < shape.out_c; first += group_out) {
      for (const Part& part : parts) {
        const int8_t* const of_group = part.weights + first * shape.taps() * part.channels;
        const Products products{gy + first, lift + first, of_group, group_out, part.channels};
        store_sums(store, part.channels, [&](auto width, int32_t i, int32_t* sums) {
          sums_at<width>(shape, row, column, products, i, sums);
        });
      }
    }
  });
  return gy_exponent + weights_exponent - store.finish(sgd, peak);
}

}  // namespace ftte::int8
