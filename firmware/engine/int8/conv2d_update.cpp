#include "engine/int8/conv2d_update.hpp"

#include "engine/int8/gradient_sums.hpp"

namespace ftte::int8 {
namespace {

constexpr bool covers_input(const Conv2dShape& s) {
  return s.groups == 1 && s.out_h == 1 && s.out_w == 1 && s.pad_top == 0 && s.pad_left == 0 && s.kernel_h == s.in_h &&
         s.kernel_w == s.in_w;
}

// Whether the inputs of neighbouring taps of a row lie side by side for all outputs: no window leaves x sideways, and
// x holds only channels that train. Then a row of the kernel is like one tap with more channels.
constexpr bool rows_run_through(const Conv2dShape& s, int32_t x_channels, int32_t trained_in) {
  return s.groups == 1 && trained_in == x_channels && s.pad_left == 0 &&
         (s.out_w - 1) * s.stride_w + s.kernel_w <= s.in_w;
}

// How gy and x are walked for the sums of one tap (or of a row of taps that runs through).
struct Walk {
  int32_t rows, columns;
  int32_t gy_step, gy_row;  // from an output to the next, from a row of outputs to the next
  int32_t x_step, x_row;    // likewise between what they read
};

// The sums of kWidth weights; gy and x begin with the first output, x also with the first weight's input. A function of
// its own, as only then the innermost loop gets all registers.
template <int32_t kWidth>
[[gnu::noinline]] void sums_of(const Walk& walk, const int8_t* gy, const int8_t* x, int32_t (&sums)[kWidth]) {
  int32_t sum[kWidth] = {};
  for (int32_t row = 0; row < walk.rows; ++row, gy += walk.gy_row, x += walk.x_row) {
    multiply_row<kWidth>(gy, walk.gy_step, x, walk.x_step, walk.columns, sum);
  }
  unrolled<kWidth>([&](int32_t j) { sums[j] = sum[j]; });
}

// Each weight has one product: no sums, and no blocks.
template <class Rule>
void update_fully_connected(const Conv2dShape& s, const int8_t* gy, const int8_t* x, int32_t x_channels,
                            int32_t trained_in, WeightUpdate<Rule>& update) {
  const bool joined = trained_in == x_channels;
  const int32_t runs = joined ? 1 : s.taps();
  const int32_t run = joined ? s.taps() * trained_in : trained_in;
  for (int32_t o = 0; o < s.out_c; ++o) {
    update.begin_channel(o);
    for (int32_t i = 0; i < runs; ++i) update.step(gy[o], x + i * x_channels, run);
  }
}

// Of output channel o, whose group's input channels begin at x.
template <class Rule>
void update_channel(const Conv2dShape& s, const int8_t* gy, int32_t o, const int8_t* x, int32_t x_channels,
                    int32_t trained_in, WeightUpdate<Rule>& update) {
  const bool joined = rows_run_through(s, x_channels, trained_in);
  const int32_t kernel_w = joined ? 1 : s.kernel_w;
  const int32_t run = joined ? s.kernel_w * trained_in : trained_in;
  Walk walk{0, 0, s.out_c, s.out_w * s.out_c, s.stride_w * x_channels, s.stride_h * s.in_w * x_channels};
  update.begin_channel(o);
  for (int32_t ky = 0; ky < s.kernel_h; ++ky) {
    const auto rows = outputs_inside(ky, s.stride_h, s.pad_top, s.in_h, s.out_h);
    const int32_t y = rows.first * s.stride_h + ky - s.pad_top;
    for (int32_t kx = 0; kx < kernel_w; ++kx) {
      const auto columns = outputs_inside(kx, s.stride_w, s.pad_left, s.in_w, s.out_w);
      const int32_t left = columns.first * s.stride_w + kx - s.pad_left;
      const int8_t* const first_gy = gy + (rows.first * s.out_w + columns.first) * s.out_c + o;
      const int8_t* const first_x = x + (y * s.in_w + left) * x_channels;
      walk.rows = rows.size();
      walk.columns = columns.size();
      in_blocks(run, [&](auto width, int32_t i) {
        int32_t sum[width];
        sums_of<width>(walk, first_gy, first_x + i, sum);
        update.step(sum, width);
      });
    }
  }
}

}  // namespace

template <class Rule>
void conv2d_update(Sgd& sgd, uint32_t stream, const Conv2dShape& shape, const int8_t* gy, int32_t gy_exponent,
                   const int8_t* x, int32_t x_exponent, int32_t x_channels, const TrainedWeights<Rule>& weights) {
  const int32_t trained_in = weights.trained_in;
  WeightUpdate<Rule> update(sgd, stream, weights, gy_exponent + x_exponent, shape.positions());
  if (covers_input(shape)) {
    update_fully_connected(shape, gy, x, x_channels, trained_in, update);
  } else {
    const int32_t group_in = shape.group_in();
    const int32_t group_out = shape.group_out();
    int32_t o = 0;
    for (int32_t group = 0; group < shape.groups; ++group, x += group_in) {
      for (const int32_t end = o + group_out; o < end; ++o) {
        update_channel(shape, gy, o, x, x_channels, trained_in, update);
      }
    }
  }
  update.finish(sgd);
}

template void conv2d_update<Compensated>(Sgd&, uint32_t, const Conv2dShape&, const int8_t*, int32_t, const int8_t*,
                                         int32_t, int32_t, const TrainedWeights<Compensated>&);
template void conv2d_update<Compensated4>(Sgd&, uint32_t, const Conv2dShape&, const int8_t*, int32_t, const int8_t*,
                                          int32_t, int32_t, const TrainedWeights<Compensated4>&);
template void conv2d_update<Accumulated>(Sgd&, uint32_t, const Conv2dShape&, const int8_t*, int32_t, const int8_t*,
                                         int32_t, int32_t, const TrainedWeights<Accumulated>&);
template void conv2d_update<Truncated>(Sgd&, uint32_t, const Conv2dShape&, const int8_t*, int32_t, const int8_t*,
                                       int32_t, int32_t, const TrainedWeights<Truncated>&);

}  // namespace ftte::int8
