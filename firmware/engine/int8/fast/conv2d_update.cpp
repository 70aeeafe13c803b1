#include "engine/int8/fast/conv2d_update.hpp"

#ifdef FTTE_DSP

#include <cstring>
#include <type_traits>

#include "engine/int8/fast/compensated_steps.hpp"

namespace ftte::int8::fast {
namespace {

constexpr int32_t kColumns = kPositions;  // what the inner loop calls four positions
constexpr int32_t kOutputs = 32;          // sums that lie in scratch: of so many output channels
constexpr int32_t kLifts = 8;

// Four columns, of which the first is input channel `i` under a tap.
struct Columns {
  const ColumnProducts& layer;
  const int8_t* x;
  int32_t ky, kx, i;

  // On to the next column; behind the last begins, for want of another, the last row again.
  void step() {
    if (++i < layer.trained_in) return;
    i = 0;
    if (++kx < layer.shape.kernel_w) return;
    kx = 0;
    if (ky + 1 < layer.shape.kernel_h) ++ky;
  }

  // Of output position (oy, ox); of a position outside, zeros.
  const int8_t* at(int32_t oy, int32_t ox) const {
    static constexpr int8_t kZeros[4] = {};
    const Conv2dShape& s = layer.shape;
    const int32_t y = oy * s.stride_h + ky - s.pad_top;
    const int32_t left = ox * s.stride_w + kx - s.pad_left;
    const bool inside = static_cast<uint32_t>(y) < static_cast<uint32_t>(s.in_h) &&
                        static_cast<uint32_t>(left) < static_cast<uint32_t>(s.in_w);
    return inside ? x + (y * s.in_w + left) * layer.x_channels + i : kZeros;
  }
};

// Output positions, walked row by row.
struct Position {
  int32_t oy, ox;
  void step(int32_t columns) {
    if (++ox == columns) {
      ox = 0;
      ++oy;
    }
  }
};

// The bytes of four columns at a position; of neighbouring channels under one tap, they lie together.
[[gnu::noinline]] uint32_t bytes_at(const Columns& columns, const Position& p) {
  if (columns.i + 4 <= columns.layer.trained_in) return read32(columns.at(p.oy, p.ox));
  Columns column = columns;
  uint32_t bytes = 0;
  for (int32_t j = 0; j < kColumns; ++j, column.step()) {
    bytes |= static_cast<uint32_t>(static_cast<uint8_t>(*column.at(p.oy, p.ox))) << (8 * j);
  }
  return bytes;
}

// The columns' inputs at positions a and b, as four pairs.
[[gnu::always_inline]] inline uint32_t* put_pairs(uint32_t a, uint32_t b, uint32_t* to) {
  const uint32_t low = pkhbt(a, b);
  const uint32_t high = pkhtb(a, b);
  to[0] = sxtb16(low);
  to[1] = sxtb16_ror8(low);
  to[2] = sxtb16(high);
  to[3] = sxtb16_ror8(high);
  return to + kColumns;
}

// n positions from p on, an even number.
void widen(const Columns& columns, Position p, int32_t n, uint32_t* to) {
  const int32_t out_w = columns.layer.shape.out_w;
  for (int32_t i = 0; i < n; i += 2) {
    const uint32_t a = bytes_at(columns, p);
    p.step(out_w);
    to = put_pairs(a, bytes_at(columns, p), to);
    p.step(out_w);
  }
}

// The steps of four columns' weights.
template <class Rule>
class ColumnSteps {
 public:
  ColumnSteps(const Sgd& sgd, const ColumnProducts& layer, int32_t gradient_exponent,
              const TrainedWeights<Rule>& weights)
      : weights_(weights), row_(layer.row), length_(layer.shape.taps() * layer.trained_in) {
    const LayerScale scale(sgd.learning_rate_q16, weights.exponent + Rule::kGridBits - gradient_exponent,
                           layer.shape.positions(), kProductBits);
    for (int32_t lift = 0; lift < kLifts; ++lift) scales_[lift] = scale.of(lift, 1);
  }

  // Of rounded sums of output channels [first, first + n) and columns [column, column + count); `random` is the state
  // before the first. Returns the state before the first of the next output channel.
  [[gnu::noinline]] uint32_t apply(int32_t first, int32_t n, int32_t column, int32_t count, const int32_t* sums,
                                   uint32_t random) {
    int32_t index = first * length_ + column;
    for (int32_t o = 0; o < n; ++o, index += length_, random = row_(random)) {
      const int32_t* const sum = sums + (o >> 1) * 2 * kColumns + (o & 1);
      const UpdateScale& scale = scales_[weights_.lift[first + o]];
      if constexpr (std::is_same_v<Rule, Compensated>) {
        if (count == kColumns) {
          Steps steps{scale.multiplier, scale.shift, kOne(random), clipped_};
          step_compensated(weights_.values + index, weights_.residuals + index, sum, steps);
          clipped_ = steps.clipped;
          continue;
        }
      }
      one_by_one(index, count, sum, scale, random_of(random));
    }
    return random;
  }

  // The sums of n output channels as `apply` wants them.
  void round(int32_t* sums, int32_t n) const {
    const int32_t pre_shift = scales_[0].pre_shift;
    if (pre_shift == 0) return;
    for (int32_t i = 0; i < n * kColumns; ++i) sums[i] = round_shift(sums[i], pre_shift);
  }

  void finish(Sgd& sgd) const { sgd.saturated += clipped_; }

 private:
  static constexpr int32_t kProductBits = 14;
  static constexpr Jump kOne = jump_over(1);

  void one_by_one(int32_t index, int32_t count, const int32_t* sum, const UpdateScale& scale, Random numbers) {
    uint32_t clipped = 0;
    for (int32_t j = 0; j < count; ++j) {
      const int32_t product = sum[2 * j] * scale.multiplier;
      clipped += Rule::apply(weights_.values, weights_.residuals, index + j, product, scale.shift, numbers);
    }
    clipped_ += clipped;
  }

  TrainedWeights<Rule> weights_;
  Jump row_;
  int32_t length_;
  UpdateScale scales_[kLifts];
  uint32_t clipped_ = 0;
};

// Where the columns and the sums lie.
struct Scratch {
  int32_t* sums;
  uint32_t* pairs;
};

// The sums of n output channels from `first` on. With `widened`, the pairs are there already: all positions fit.
void sum_products(const Columns& columns, const int8_t* gy, int32_t first, int32_t n, bool widened, Scratch scratch) {
  const ColumnProducts& layer = columns.layer;
  const Conv2dShape& s = layer.shape;
  const auto* const pairs = reinterpret_cast<const int16_t*>(scratch.pairs);
  std::memset(scratch.sums, 0, static_cast<size_t>(n) * kColumns * sizeof(int32_t));
  LiftedProducts p{pairs, nullptr, gy + first, scratch.sums, scratch.sums + n * kColumns};
  Position position{0, 0};
  int32_t left = s.positions();
  if ((left & 1) != 0) {
    put_pairs(bytes_at(columns, position), 0, scratch.pairs);
    p.g_end = pairs + 2 * kColumns;
    layer.multiply_first(p);
    p.w += s.out_c;
    position.step(s.out_w);
    --left;
  }
  while (left > 0) {
    const int32_t count = left < kPositionsAtOnce ? left : kPositionsAtOnce;
    if (!widened) widen(columns, position, count, scratch.pairs);
    p.g_end = pairs + count * kColumns;
    layer.multiply(p);
    p.w += count * s.out_c;
    left -= count;
    for (int32_t i = 0; i < count && left > 0; ++i) position.step(s.out_w);
  }
}

}  // namespace

template <class Rule>
void update_by_columns(Sgd& sgd, uint32_t stream, const ColumnProducts& layer, const int8_t* gy, const int8_t* x,
                       int32_t gradient_exponent, const TrainedWeights<Rule>& weights, void* memory) {
  const Conv2dShape& s = layer.shape;
  const Scratch scratch{static_cast<int32_t*>(memory), static_cast<uint32_t*>(memory) + kOutputs * kColumns};
  const bool widened = s.positions() <= kPositionsAtOnce && s.positions() % 2 == 0;
  const int32_t length = s.taps() * layer.trained_in;
  ColumnSteps<Rule> steps(sgd, layer, gradient_exponent, weights);
  Columns columns{layer, x, 0, 0, 0};
  Random numbers(sgd.seed, stream);
  for (int32_t column = 0; column < length; column += kColumns) {
    const int32_t count = length - column < kColumns ? length - column : kColumns;
    if (widened) widen(columns, {0, 0}, s.positions(), scratch.pairs);
    uint32_t random = state_of(numbers);
    for (int32_t first = 0; first < s.out_c; first += kOutputs) {
      const int32_t n = s.out_c - first < kOutputs ? s.out_c - first : kOutputs;
      sum_products(columns, gy, first, n, widened, scratch);
      steps.round(scratch.sums, n);
      random = steps.apply(first, n, column, count, scratch.sums, random);
    }
    for (int32_t j = 0; j < kColumns; ++j) {
      columns.step();
      numbers.next();
    }
  }
  steps.finish(sgd);
}

void update_dense(Sgd& sgd, uint32_t stream, const ColumnProducts& layer, const int8_t* gy, const int8_t* x,
                  int32_t gradient_exponent, const TrainedWeights<Compensated>& weights) {
  const LayerScale scales(sgd.learning_rate_q16, weights.exponent + kResidualBits - gradient_exponent, 1, 14);
  const bool joined = layer.trained_in == layer.x_channels;
  const int32_t runs = joined ? 1 : layer.shape.taps();
  const int32_t run = joined ? layer.shape.taps() * layer.trained_in : layer.trained_in;
  Steps steps{0, 0, Random(sgd.seed, stream).next(), 0};
  int8_t* q = weights.values;
  int8_t* r = weights.residuals;
  for (int32_t o = 0; o < layer.shape.out_c; ++o) {
    const UpdateScale scale = scales.of(weights.lift[o], 1);  // with one term nothing is shifted out before
    steps.factor = gy[o] * scale.multiplier;
    steps.shift = scale.shift;
    for (int32_t i = 0; i < runs; ++i, q += run, r += run) {
      step_compensated(q, r, x + i * layer.x_channels, run, steps);
    }
  }
  sgd.saturated += steps.clipped;
}

template void update_by_columns<Compensated>(Sgd&, uint32_t, const ColumnProducts&, const int8_t*, const int8_t*,
                                             int32_t, const TrainedWeights<Compensated>&, void*);
template void update_by_columns<Accumulated>(Sgd&, uint32_t, const ColumnProducts&, const int8_t*, const int8_t*,
                                             int32_t, const TrainedWeights<Accumulated>&, void*);
template void update_by_columns<Truncated>(Sgd&, uint32_t, const ColumnProducts&, const int8_t*, const int8_t*, int32_t,
                                           const TrainedWeights<Truncated>&, void*);

}  // namespace ftte::int8::fast

#endif
