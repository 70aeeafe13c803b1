#include "engine/int8/max_pool_gradient.hpp"

#include "engine/int8/gradient_sums.hpp"

namespace ftte::int8 {
namespace {

// The winners' numbers, unpacked.
class Winners {
 public:
  Winners(const uint8_t* packed, int32_t width) : packed_(packed), width_(width), mask_((1 << width) - 1) {}
  int32_t operator[](int32_t element) const {
    const int32_t bit = element * width_;
    return (packed_[bit >> 3] >> (bit & 7)) & mask_;
  }

 private:
  const uint8_t* packed_;
  int32_t width_;
  int32_t mask_;
};

void scatter(const PoolShape& s, const int8_t* gy, const Winners& winners, const Gate& gate, int8_t* gx) {
  // tap / kernel_w as a product, as a core's division takes a time that depends on the operands: exact for taps and
  // kernels up to 256, as the reciprocal is too large by less than kernel_w / 2^16.
  const int32_t reciprocal = ((1 << 16) + s.kernel_w - 1) / s.kernel_w;
  const int32_t size = s.in_size();
  for (int32_t i = 0; i < size; ++i) gx[i] = 0;
  int32_t element = 0;
  for (int32_t oy = 0; oy < s.out_h; ++oy) {
    for (int32_t ox = 0; ox < s.out_w; ++ox) {
      const int32_t origin = (oy * s.stride_h - s.pad_top) * s.in_w + ox * s.stride_w - s.pad_left;
      for (int32_t c = 0; c < s.channels; ++c, ++element) {
        const int32_t tap = winners[element];
        const int32_t ky = (tap * reciprocal) >> 16;
        const int32_t kx = tap - ky * s.kernel_w;
        const int32_t index = (origin + ky * s.in_w + kx) * s.channels + c;
        gx[index] = static_cast<int8_t>(gy[element] & gate.mask(index));
      }
    }
  }
}

// The sums of kWidth channels, the first of them `c`, at one position. A function of its own for the sake of its
// registers.
template <int32_t kWidth>
[[gnu::noinline]] void sums_at(const PoolShape& s, const Reach& row, const Reach& column, const int8_t* gy,
                               const Winners& winners, int32_t c, int32_t* sums) {
  int32_t sum[kWidth] = {};
  for_reached(s, row, column, [&](int32_t tap, int32_t position) {
    const int32_t output = position * s.channels + c;
    // The mask is -1 for the winner alone.
    unrolled<kWidth>([&](int32_t j) { sum[j] += gy[output + j] & (((winners[output + j] ^ tap) - 1) >> 31); });
  });
  unrolled<kWidth>([&](int32_t j) { sums[j] = sum[j]; });
}

}  // namespace

int32_t max_pool_gradient(Sgd& sgd, const PoolShape& shape, const int8_t* gy, int32_t gy_exponent,
                          const uint8_t* winners, const uint8_t* gate, uint32_t* peak, int8_t* gx) {
  const Winners winner(winners, shape.winner_bits());
  if (!shape.overlaps()) {
    scatter(shape, gy, winner, Gate(gate), gx);
    return gy_exponent;
  }
  GradientStore store(sgd, gate, *peak, gx);
  for_inputs(shape, [&](const Reach& row, const Reach& column) {
    store_sums(store, shape.channels,
               [&](auto width, int32_t c, int32_t* sums) { sums_at<width>(shape, row, column, gy, winner, c, sums); });
  });
  return gy_exponent - store.finish(sgd, peak);
}

}  // namespace ftte::int8
