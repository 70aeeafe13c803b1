#include "engine/int8/conv2d.hpp"

#include "convolve.hpp"
#include "engine/int8/requantise.hpp"

namespace ftte::int8 {
namespace {

// One output position: each channel is the product of its row, which lies in one piece, and the window.
template <class Take>
void dense(const Conv2dShape& s, const int8_t* x, const int8_t* weights, const int32_t* bias, const Take& take) {
  thread_local host::Scratch scratch;
  const int32_t n = s.in_size();
  int16_t* const wide = scratch.of<int16_t>(n);
  host::widen(x, n, wide);
  for (int32_t o = 0; o < s.out_c; ++o, weights += n) {
    int32_t sum = bias_in_sum(bias[o]);
    for (int32_t i = 0; i < n; ++i) sum += static_cast<int32_t>(wide[i]) * static_cast<int16_t>(weights[i]);
    take(0, o, &sum, Width<1>{}, 1);
  }
}

// take(position, first channel, sums, Width<n>, valid) as host::convolve has it.
template <class Take>
void convolve(const Conv2dShape& s, const int8_t* x, const Weights<int8_t>& weights, const int32_t* bias,
              const Take& take) {
  const bool one_part = weights.trained_in == 0 || weights.trained_in == s.in_c;
  if (one_part && s.groups == 1 && s.positions() == 1 && s.reads_directly()) {
    dense(s, x, weights.trained_in == 0 ? weights.frozen : weights.trained, bias, take);
    return;
  }
  host::convolve<int32_t>(
      s, x, weights, [&](int32_t channel) { return bias_in_sum(bias[channel]); }, take);
}

}  // namespace

void conv2d(const Conv2dShape& shape, const int8_t* x, const Weights<int8_t>& weights, const int32_t* bias,
            const int8_t* shifts, Range range, int8_t* scratch, int8_t* y) {
  static_cast<void>(scratch);
  thread_local host::Scratch shifts_scratch;
  int32_t* const wide = shifts_scratch.of<int32_t>(shape.out_c + 4 * host::kLanes);  // a block may reach beyond
  std::memset(wide + shape.out_c, 0, sizeof(int32_t) * 4 * host::kLanes);
  host::widen(shifts, shape.out_c, wide);
  const host::Output<int8_t> output{y, shape.out_c, shape.out_size()};
  convolve(shape, x, weights, bias,
           [=](int32_t position, int32_t first, const int32_t* sums, auto width, int32_t channels) {
             int8_t values[width];
             for (int32_t c = 0; c < width; ++c) values[c] = requantise(sums[c], wide[first + c], range);
             output.put(position, first, values, channels);
           });
}

void conv2d_logits(const Conv2dShape& shape, const int8_t* x, const Weights<int8_t>& weights, const int32_t* bias,
                   int8_t* scratch, int32_t* y) {
  static_cast<void>(scratch);
  convolve(shape, x, weights, bias,
           [&](int32_t position, int32_t first, const int32_t* sums, auto width, int32_t channels) {
             static_cast<void>(width);
             for (int32_t c = 0; c < channels; ++c) y[position * shape.out_c + first + c] = sums[c];
           });
}

}  // namespace ftte::int8
