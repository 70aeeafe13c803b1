#include "engine/float32/fast/conv2d.hpp"

#include <limits>

#include "engine/float32/fast/tile.hpp"
#include "engine/window.hpp"

namespace ftte::float32::fast {

#ifdef FTTE_FPU_TILES

namespace {

// Fewer do not repay what packing takes.
constexpr int32_t kFewestChannels = 8;

// The trained or the frozen input channels: their weights [out_c][taps][channels], and the first's place in x.
struct Part {
  const float* weights;
  int32_t first, channels;
};

// Where values of one position are put: eights in pairs, what is left behind them one by one. `k` of the next.
struct Packing {
  float* packed;  // this position's first pair
  int32_t eights, k;
  int32_t position;

  void put(float value) {
    float* const at = k < eights ? packed + (k & ~1) * kTile + (k & 1) : packed + k * kTile - position;
    *at = value;
    ++k;
  }
};

// n values, or zeros if there are none.
void put_run(const float* source, int32_t n, Packing& to) {
  const float* const end = source + n;
  if (source == nullptr) {
    for (; n > 0; --n) to.put(0);
    return;
  }
  if ((to.k & 1) != 0 && source != end) to.put(*source++);
  const int32_t paired = (n < to.eights - to.k ? end - source : to.eights - to.k) & ~7;
  if (paired > 0) {
    copy_eights(source, paired, to.packed + to.k * kTile);
    source += paired;
    to.k += paired;
  }
  while (source != end) to.put(*source++);
}

// The values [from, to) of a part under the window at (row, column), counted tap by tap.
[[gnu::noinline]] void pack_window(const Conv2dShape& s, const float* x, const Part& part, int32_t row, int32_t column,
                                   int32_t from, int32_t to, Packing packing) {
  const ftte::Range inside = taps_inside(column, s.kernel_w, s.in_w);
  const bool whole = part.channels == s.in_c;
  const int32_t tap = from / part.channels;
  int32_t channel = from - tap * part.channels;
  int32_t ky = tap / s.kernel_w;
  int32_t kx = tap - ky * s.kernel_w;
  for (int32_t k = from; k < to;) {
    const bool present = row + ky >= 0 && row + ky < s.in_h && kx >= inside.first && kx < inside.last;
    // Neighbouring taps lie side by side where all channels are asked for.
    const int32_t taps = whole && present ? inside.last - kx : 1;
    int32_t n = taps * part.channels - channel;
    if (n > to - k) n = to - k;
    const float* const cell = x + ((row + ky) * s.in_w + column + kx) * s.in_c + part.first + channel;
    put_run(present ? cell : nullptr, n, packing);
    k += n;
    channel = 0;
    kx += taps;
    if (kx >= s.kernel_w) {
      kx = 0;
      ++ky;
    }
  }
}

// Values [from, to) of a part for four positions from `first` on; behind the last position it stands again.
void pack(const Conv2dShape& s, const float* x, const Part& part, int32_t first, int32_t from, int32_t to,
          float* packed) {
  const int32_t last = s.positions() - 1;
  const int32_t eights = (to - from) & ~7;
  const bool pointwise = s.taps() == 1 && s.stride_h == 1 && s.stride_w == 1 && s.pad_top == 0 && s.pad_left == 0;
  for (int32_t p = 0; p < kTile; ++p) {
    const int32_t at = first + p < last ? first + p : last;
    if (pointwise) {
      const float* const source = x + at * s.in_c + part.first + from;
      if (eights != 0) copy_eights(source, eights, packed + 2 * p);
      for (int32_t k = eights; k < to - from; ++k) packed[k * kTile + p] = source[k];
      continue;
    }
    const int32_t oy = at / s.out_w;
    const int32_t column = (at - oy * s.out_w) * s.stride_w - s.pad_left;
    pack_window(s, x, part, oy * s.stride_h - s.pad_top, column, from, to, {packed + 2 * p, eights, 0, p});
  }
}

// Products of a chunk: eights, then what is left, which goes on with what they have written.
[[gnu::always_inline]] inline void multiply(Tiles& tiles, int32_t n) {
  const int32_t eights = n & ~7;
  const int32_t rest = n - eights;
  constexpr int32_t kFloat = sizeof(float);
  if (eights != 0) {
    tiles.n = eights;
    tiles.skip = tiles.row - eights * kFloat;
    multiply_eights(tiles);
  }
  if (rest == 0) return;
  tiles.n = rest;
  tiles.skip = tiles.row - rest * kFloat;
  tiles.x += eights * kTile;
  tiles.w0 += eights;
  tiles.w1 += eights;
  tiles.w2 += eights;
  tiles.w3 += eights;
  if (eights != 0) {
    tiles.from = tiles.to;
    tiles.from_step = tiles.to_step;
  }
  multiply_ones(tiles);
}

// A chunk of the sums of four positions: of which channels they begin, and what becomes of them.
struct Chunk {
  const float* packed;
  const float* weights;  // of channel 0
  int32_t row;           // floats between channels
  int32_t n;
  const float* bias;  // null: go on with what lies in y
};

// All channels at `valid` of four positions, y [position][out_c].
void multiply_channels(const Chunk& c, int32_t out_c, int32_t valid, float* y) {
  constexpr int32_t kFloat = sizeof(float);
  const bool begins = c.bias != nullptr;
  constexpr int32_t kFour = kTile * kFloat;
  const int32_t step = out_c * kFloat - kFour;
  const int32_t row = c.row * kFloat;
  int32_t o = 0;
  if (valid == kTile && out_c >= kTile) {
    const float* w = c.weights;
    Tiles tiles{c.packed, w,    w + c.row, w + 2 * c.row, w + 3 * c.row, 0, begins ? c.bias : y, begins ? -kFour : step,
                y,        step, 0,         row,           out_c / kTile};
    multiply(tiles, c.n);
    o = out_c & ~(kTile - 1);
  }
  // What does not fill a block is computed in one of its own: positions and channels that are not there, as the last.
  for (; o < out_c; o += kTile) {
    float block[kTile * kTile];
    const auto channel = [&](int32_t j) { return o + j < out_c ? o + j : out_c - 1; };
    for (int32_t p = 0; p < kTile; ++p) {
      for (int32_t j = 0; j < kTile; ++j) {
        const int32_t at = p < valid ? p : valid - 1;
        block[p * kTile + j] = begins ? c.bias[channel(j)] : y[at * out_c + channel(j)];
      }
    }
    const auto weights = [&](int32_t j) { return c.weights + channel(j) * c.row; };
    Tiles own{c.packed, weights(0), weights(1), weights(2), weights(3), 0, block, 0, block, 0, 0, row, 1};
    multiply(own, c.n);
    for (int32_t p = 0; p < valid; ++p) {
      for (int32_t j = 0; j < kTile && o + j < out_c; ++j) y[p * out_c + o + j] = block[p * kTile + j];
    }
  }
}

void clamp(const Range& range, int32_t n, float* y) {
  const bool rectified = range.low == 0.0F;
  if (range.high == std::numeric_limits<float>::max()) {
    if (!rectified) return;
    rectify(y, n & ~7);
    y += n & ~7;
    n &= 7;
  }
  const Bounds bounds(range);
  for (int32_t i = 0; i < n; ++i) y[i] = bounds.clamp(y[i]);
}

// Outputs of a layer that has one position, and its input in one piece: products with n values of each row.
[[gnu::noinline]] void fully_connected(const float* x, const float* weights, int32_t n, int32_t out_c,
                                       const float* from, float* y) {
  const int32_t eights = n & ~7;
  for (int32_t o = 0; o < out_c; ++o) {
    const bool block = o + kTile <= out_c && eights != 0;
    if (block && o % kTile == 0) multiply_one_position(x, weights + o * n, n, eights, from + o, y + o);
    const bool done = eights != 0 && o < (out_c & ~(kTile - 1));
    float sum = done ? y[o] : from[o];
    for (int32_t k = done ? eights : 0; k < n; ++k) sum += x[k] * weights[o * n + k];
    y[o] = sum;
  }
}

}  // namespace

void conv2d(const Conv2dShape& shape, const float* x, const Weights<float>& weights, const float* bias, Range range,
            float* scratch, float* y) {
  const bool one_part = weights.trained_in == 0 || weights.trained_in == shape.in_c;
  if (shape.groups == 1 && shape.positions() == 1 && shape.reads_directly() && one_part) {
    const float* const rows = weights.trained_in == 0 ? weights.frozen : weights.trained;
    fully_connected(x, rows, shape.in_size(), shape.out_c, bias, y);
    clamp(range, shape.out_c, y);
    return;
  }
  if (shape.groups != 1 || shape.out_c < kFewestChannels || shape.positions() < kTile) {
    float32::conv2d(shape, x, weights, bias, range, scratch, y);
    return;
  }
  const Part parts[] = {{weights.trained, 0, weights.trained_in},
                        {weights.frozen, weights.trained_in, shape.in_c - weights.trained_in}};
  for (int32_t first = 0; first < shape.positions(); first += kTile, y += kTile * shape.out_c) {
    const int32_t left = shape.positions() - first;
    const int32_t valid = left < kTile ? left : kTile;
    const float* from = bias;
    for (const Part& part : parts) {
      const int32_t row = shape.taps() * part.channels;
      for (int32_t k = 0; k < row; k += kDepth) {
        const int32_t n = row - k < kDepth ? row - k : kDepth;
        pack(shape, x, part, first, k, k + n, scratch);
        multiply_channels({scratch, part.weights + k, row, n, from}, shape.out_c, valid, y);
        from = nullptr;
      }
    }
    clamp(range, valid * shape.out_c, y);
  }
}

#else

void conv2d(const Conv2dShape& shape, const float* x, const Weights<float>& weights, const float* bias, Range range,
            float* scratch, float* y) {
  float32::conv2d(shape, x, weights, bias, range, scratch, y);
}

#endif

}  // namespace ftte::float32::fast
