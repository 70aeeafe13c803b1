#include "engine/int8/depthwise2d_update.hpp"

#include "engine/int8/gradient_sums.hpp"

namespace ftte::int8 {
namespace {

// The outputs for which one tap lies inside x, as steps through gy and x.
struct Walk {
  int32_t rows, columns;
  int32_t gy_step, gy_row;  // from an output to the next, from a row of outputs to the next
  int32_t x_step, x_row;    // likewise between what they read
};

// The sums of kWidth channels; gy and x begin with the first output's. A function of its own for the sake of its
// registers.
template <int32_t kWidth>
[[gnu::noinline]] void sums_of(const Walk& walk, const int8_t* gy, const int8_t* x, int32_t (&sums)[kWidth]) {
  int32_t sum[kWidth] = {};
  for (int32_t row = 0; row < walk.rows; ++row, gy += walk.gy_row, x += walk.x_row) {
    const int8_t* g = gy;
    const int8_t* in = x;
    for (int32_t column = 0; column < walk.columns; ++column, g += walk.gy_step, in += walk.x_step) {
      multiply_elements<kWidth>(g, in, sum);
    }
  }
  unrolled<kWidth>([&](int32_t j) { sums[j] = sum[j]; });
}

}  // namespace

template <class Rule>
void depthwise2d_update(Sgd& sgd, uint32_t stream, const Conv2dShape& shape, const int8_t* gy, int32_t gy_exponent,
                        const int8_t* x, int32_t x_exponent, int32_t x_channels, const TrainedWeights<Rule>& weights) {
  const Conv2dShape& s = shape;
  WeightUpdate<Rule> update(sgd, stream, weights, gy_exponent + x_exponent, s.positions());
  Walk walk{0, 0, s.out_c, s.out_w * s.out_c, s.stride_w * x_channels, s.stride_h * s.in_w * x_channels};
  for (int32_t ky = 0; ky < s.kernel_h; ++ky) {
    const auto rows = outputs_inside(ky, s.stride_h, s.pad_top, s.in_h, s.out_h);
    const int32_t y = rows.first * s.stride_h + ky - s.pad_top;
    for (int32_t kx = 0; kx < s.kernel_w; ++kx) {
      const auto columns = outputs_inside(kx, s.stride_w, s.pad_left, s.in_w, s.out_w);
      const int32_t left = columns.first * s.stride_w + kx - s.pad_left;
      const int8_t* const first_gy = gy + (rows.first * s.out_w + columns.first) * s.out_c;
      const int8_t* const first_x = x + (y * s.in_w + left) * x_channels;
      walk.rows = rows.size();
      walk.columns = columns.size();
      in_blocks(weights.trained_in, [&](auto width, int32_t c) {
        int32_t sum[width];
        sums_of<width>(walk, first_gy + c, first_x + c, sum);
        update.step_channels(c, sum, width);
      });
    }
  }
  update.finish(sgd);
}

template void depthwise2d_update<Compensated>(Sgd&, uint32_t, const Conv2dShape&, const int8_t*, int32_t, const int8_t*,
                                              int32_t, int32_t, const TrainedWeights<Compensated>&);
template void depthwise2d_update<Compensated4>(Sgd&, uint32_t, const Conv2dShape&, const int8_t*, int32_t,
                                               const int8_t*, int32_t, int32_t, const TrainedWeights<Compensated4>&);
template void depthwise2d_update<Accumulated>(Sgd&, uint32_t, const Conv2dShape&, const int8_t*, int32_t, const int8_t*,
                                              int32_t, int32_t, const TrainedWeights<Accumulated>&);
template void depthwise2d_update<Truncated>(Sgd&, uint32_t, const Conv2dShape&, const int8_t*, int32_t, const int8_t*,
                                            int32_t, int32_t, const TrainedWeights<Truncated>&);

}  // namespace ftte::int8
