#include "engine/int8/fast/conv2d_update.hpp"

#ifdef FTTE_BLOCKS

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

  // Of neighbouring channels under one tap, the bytes lie together.
  bool together() const { return i + kColumns <= layer.trained_in; }
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

// body(inside, offset in x) of the first column for n positions from p on.
template <typename Body>
[[gnu::always_inline]] inline void for_positions(const Columns& columns, Position p, int32_t n, const Body& body) {
  const Conv2dShape& s = columns.layer.shape;
  const int32_t step = s.stride_w * columns.layer.x_channels;
  for (; n > 0; ++p.oy, p.ox = 0) {
    const int32_t y = p.oy * s.stride_h + columns.ky - s.pad_top;
    const uint32_t width = y >= 0 && y < s.in_h ? static_cast<uint32_t>(s.in_w) : 0;
    int32_t left = p.ox * s.stride_w + columns.kx - s.pad_left;
    int32_t offset = (y * s.in_w + left) * columns.layer.x_channels + columns.i;
    const int32_t in_row = s.out_w - p.ox < n ? s.out_w - p.ox : n;
    n -= in_row;
    for (const int32_t end = left + in_row * s.stride_w; left != end; left += s.stride_w, offset += step) {
      body(static_cast<uint32_t>(left) < width, offset);
    }
  }
}

// The columns' inputs at two positions, as four pairs.
[[gnu::always_inline]] inline uint32_t* put_pairs(uint32_t a, uint32_t b, uint32_t* to) {
  const uint32_t low = pkhbt(a, b);
  const uint32_t high = pkhtb(a, b);
  to[0] = sxtb16(low);
  to[1] = sxtb16_ror8(low);
  to[2] = sxtb16(high);
  to[3] = sxtb16_ror8(high);
  return to + kColumns;
}

[[gnu::noinline]] void widen_together(const Columns& columns, Position p, int32_t n, uint32_t* to) {
  const int8_t* const x = columns.x;
  uint32_t before = 0;
  bool second = false;
  for_positions(columns, p, n, [&](bool inside, int32_t offset) {
    const uint32_t word = inside ? read32(x + offset) : 0;
    if (second) to = put_pairs(before, word, to);
    before = word;
    second = !second;
  });
  if (second) put_pairs(before, 0, to);
}

[[gnu::noinline]] void widen_column(const Columns& column, Position p, int32_t n, int16_t* to) {
  const int8_t* const x = column.x;
  int32_t step = 1;  // from the first of a pair to the second, and on to the next pair
  for_positions(column, p, n, [&](bool inside, int32_t offset) {
    *to = inside ? x[offset] : 0;
    to += step;
    step = 2 * kColumns - step;
  });
  if (step != 1) *to = 0;
}

// Four columns at n positions from p on; a last odd one is paired with zeros.
void widen(const Columns& columns, Position p, int32_t n, uint32_t* to) {
  if (columns.together()) {
    widen_together(columns, p, n, to);
    return;
  }
  Columns column = columns;
  for (int32_t j = 0; j < kColumns; ++j, column.step()) {
    widen_column(column, p, n, reinterpret_cast<int16_t*>(to + j));
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
#ifdef FTTE_DSP
      if constexpr (std::is_same_v<Rule, Compensated>) {
        if (count == kColumns) {
          Steps steps{scale.multiplier, scale.shift, kOne(random), clipped_};
          step_compensated(weights_.values + index, weights_.residuals + index, sum, steps);
          clipped_ = steps.clipped;
          continue;
        }
      }
#endif
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
  clear(scratch.sums, n * kColumns);
  LiftedProducts p{pairs, nullptr, gy + first, scratch.sums, scratch.sums + n * kColumns};
  Position position{0, 0};
  int32_t left = s.positions();
  if ((left & 1) != 0) {
    widen(columns, position, 1, scratch.pairs);
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
  const Scratch scratch{static_cast<int32_t*>(memory),
                        static_cast<uint32_t*>(memory) + (s.out_c < kOutputs ? s.out_c : kOutputs) * kColumns};
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

#ifdef FTTE_DSP

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

#endif

template void update_by_columns<Compensated>(Sgd&, uint32_t, const ColumnProducts&, const int8_t*, const int8_t*,
                                             int32_t, const TrainedWeights<Compensated>&, void*);
template void update_by_columns<Compensated4>(Sgd&, uint32_t, const ColumnProducts&, const int8_t*, const int8_t*,
                                              int32_t, const TrainedWeights<Compensated4>&, void*);
template void update_by_columns<Accumulated>(Sgd&, uint32_t, const ColumnProducts&, const int8_t*, const int8_t*,
                                             int32_t, const TrainedWeights<Accumulated>&, void*);
template void update_by_columns<Truncated>(Sgd&, uint32_t, const ColumnProducts&, const int8_t*, const int8_t*, int32_t,
                                           const TrainedWeights<Truncated>&, void*);

}  // namespace ftte::int8::fast

#endif
