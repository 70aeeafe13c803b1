#include "engine/int8/conv2d_input_gradient.hpp"

#include "engine/int8/dot.hpp"
#include "engine/int8/relu.hpp"
#include "engine/window.hpp"

namespace ftte::int8 {
namespace {

template <int32_t kWidth>
[[gnu::always_inline]] inline void sums_at(const Conv2dShape& s, const Reach& row, const Reach& column,
                                           const int8_t* gy, const int8_t* weights, int32_t (&sum)[kWidth]) {
  unrolled<kWidth>([&](int32_t j) { sum[j] = 0; });
  for (int32_t oy = row.newest, ky = row.tap; oy >= 0 && ky < s.kernel_h; --oy, ky += s.stride) {
    for (int32_t ox = column.newest, kx = column.tap; ox >= 0 && kx < s.kernel_w; --ox, kx += s.stride) {
      const int8_t* g = gy + (oy * s.out_w + ox) * s.out_c;
      const int8_t* w = weights + (ky * s.kernel_w + kx) * s.in_c * s.out_c;
      multiply_accumulate<kWidth>(g, 1, w, 1, s.out_c, s.out_c, sum);
    }
  }
}

// Calls sink(index into x, sum) for every input element in order.
template <typename Sink>
void for_each_sum(const Conv2dShape& s, const int8_t* gy, const int8_t* weights, Sink& sink) {
  int32_t position = 0;
  Reach row = first_reach(s.pad, s.stride);
  for (int32_t iy = 0; iy < s.in_h; ++iy, advance(row, s.stride)) {
    const Reach inside_row = clipped(row, s.out_h, s.stride);
    Reach column = first_reach(s.pad, s.stride);
    for (int32_t ix = 0; ix < s.in_w; ++ix, advance(column, s.stride), position += s.in_c) {
      const Reach inside = clipped(column, s.out_w, s.stride);
      in_blocks(s.in_c, [&](auto width, int32_t i) {
        int32_t sum[width];
        sums_at<width>(s, inside_row, inside, gy, weights + i * s.out_c, sum);
        unrolled<width>([&](int32_t j) { sink(position + i + j, sum[j]); });
      });
    }
  }
}

}  // namespace

int32_t conv2d_input_gradient(const Conv2dShape& shape, const int8_t* gy, int32_t gy_exponent, const int8_t* weights,
                              int32_t weights_exponent, const int8_t* x, int8_t* gx) {
  Largest largest(x);
  for_each_sum(shape, gy, weights, largest);
  Store store(x, gradient_shift(largest.value()), gx);
  for_each_sum(shape, gy, weights, store);
  return gy_exponent + weights_exponent - store.shift();
}

}  // namespace ftte::int8
