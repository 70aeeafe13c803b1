#include "engine/int8/fast/blocked_input_gradient.hpp"

#ifdef FTTE_BLOCKS

#include <cstring>

#include "engine/int8/gradient_sums.hpp"

namespace ftte::int8::fast {
namespace {

constexpr int32_t kChannels = Store::kMost;

// What does not change during a call.
struct Work {
  const Blocked& layer;
  const int8_t* gy;
  const Weights<int8_t>& weights;
  int32_t* sums;
  uint32_t* lifted;
  const int8_t* zeros;
};

// Positions of gx that are `apart`, and what the store needs of each.
struct Block {
  int32_t position, apart, count;
  uint32_t random[kPositions];
};

// gy of four positions, lifted: pairs of outputs, four positions side by side.
[[gnu::noinline]] void lift_positions(const int8_t* const (&gy)[kPositions], const int8_t* lift, int32_t outputs,
                                      uint32_t* lifted) {
  const int8_t* const g0 = gy[0];
  const int8_t* const g1 = gy[1];
  const int8_t* const g2 = gy[2];
  const int8_t* const g3 = gy[3];
  for (int32_t o = 0; o < outputs; o += 2, lifted += kPositions) {
    const int32_t low = lift[o];
    const int32_t high = lift[o + 1];
    const auto pair = [&](const int8_t* g) {
      return pkhbt(static_cast<uint32_t>(g[o]) << low, static_cast<uint32_t>(g[o + 1]) << high);
    };
    lifted[0] = pair(g0);
    lifted[1] = pair(g1);
    lifted[2] = pair(g2);
    lifted[3] = pair(g3);
  }
}

// Adds the products of those of the part's channels [from, from + n) that exist; `sums` begin with channel `from`.
void multiply_part(const Part& part, const int8_t* w, LiftedProducts p, int32_t from, int32_t n, int32_t* sums) {
  const int32_t first = from > 0 ? from : 0;
  const int32_t last = from + n < part.channels ? from + n : part.channels;
  if (first >= last) return;
  p.w = w + first;
  p.sums = sums + (first - from) * kPositions;
  p.sums_end = sums + (last - from) * kPositions;
  part.multiply(p);
}

// Adds one tap's products with channels [first, first + n).
void multiply_tap(const Work& work, int32_t tap, int32_t first, int32_t n) {
  const Blocked& layer = work.layer;
  const auto* const pairs = reinterpret_cast<const int16_t*>(work.lifted);
  const LiftedProducts products{pairs, pairs + layer.shape.out_c * kPositions, nullptr, nullptr, nullptr};
  const int32_t trained = layer.trained.channels;
  const int32_t frozen = layer.frozen.channels;
  multiply_part(layer.trained, work.weights.trained + tap * trained, products, first, n, work.sums);
  multiply_part(layer.frozen, work.weights.frozen + tap * frozen, products, first - trained, n, work.sums);
}

// Stores all channels of a block, whose sums `add(first, n)` puts into scratch.
template <typename Add>
[[gnu::always_inline]] inline void store_block(const Work& work, Store& store, Block& block, const Add& add) {
  const int32_t channels = work.layer.shape.in_c;
  for (int32_t first = 0; first < channels; first += kChannels) {
    const int32_t n = channels - first < kChannels ? channels - first : kChannels;
    clear(work.sums, n * kPositions);
    add(first, n);
    const int32_t fours = n & ~3;
    for (int32_t p = 0; p < block.count; ++p) {
      const int32_t index = (block.position + p * block.apart) * channels + first;
      const int32_t* const sums = work.sums + 2 * p;
      if (fours != 0) block.random[p] = store.put<2 * kPositions>(index, fours, sums, block.random[p]);
      if (n != fours) block.random[p] = store.put_pair(index + fours, sums + fours * kPositions, block.random[p]);
    }
  }
}

// Fills in the random numbers of a block; returns that of the position behind it.
uint32_t begin(Block& block, const Jump& jump, uint32_t random) {
  for (uint32_t& of : block.random) {
    of = random;
    random = jump(random);
  }
  return random;
}

void pointwise(const Work& work, Store& store) {
  const Conv2dShape& s = work.layer.shape;
  uint32_t random = store.first();
  for (int32_t position = 0; position < s.positions(); position += kPositions) {
    const int32_t left = s.positions() - position;
    Block block{position, 1, left < kPositions ? left : kPositions, {}};
    random = begin(block, work.layer.position, random);
    const int8_t* gy[kPositions];
    for (int32_t p = 0; p < kPositions; ++p) gy[p] = work.gy + (position + at_most(p, left - 1)) * s.out_c;
    lift_positions(gy, work.layer.lift, s.out_c, work.lifted);
    store_block(work, store, block, [&](int32_t first, int32_t n) { multiply_tap(work, 0, first, n); });
  }
}

// The products of one row of the kernel with the block at row `oy` of y, whose first position reaches output
// `column.newest` with tap `column.tap`.
void multiply_row(const Work& work, int32_t ky, int32_t oy, const Reach& column, int32_t first, int32_t n) {
  const Conv2dShape& s = work.layer.shape;
  int32_t ox = column.newest;
  for (int32_t kx = column.tap; kx < s.kernel_w; kx += s.stride_w, --ox) {
    if (ox + kPositions <= 0 || ox >= s.out_w) continue;
    const int8_t* gy[kPositions];
    for (int32_t p = 0; p < kPositions; ++p) {
      const bool reached = ox + p >= 0 && ox + p < s.out_w;
      gy[p] = reached ? work.gy + (oy * s.out_w + ox + p) * s.out_c : work.zeros;
    }
    lift_positions(gy, work.layer.lift, s.out_c, work.lifted);
    multiply_tap(work, ky * s.kernel_w + kx, first, n);
  }
}

// The positions ix = phase, phase + stride_w ... of row iy of gx, whose first one's random number is `random`.
void windowed_row(const Work& work, Store& store, int32_t iy, const Reach& row, int32_t phase, Reach column,
                  uint32_t random) {
  const Conv2dShape& s = work.layer.shape;
  const int32_t apart = s.stride_w;
  for (int32_t ix = phase; ix < s.in_w; ix += kPositions * apart, column.newest += kPositions) {
    Block block{iy * s.in_w + ix, apart, 0, {}};
    while (block.count < kPositions && ix + block.count * apart < s.in_w) ++block.count;
    random = begin(block, work.layer.stride, random);
    store_block(work, store, block, [&](int32_t first, int32_t n) {
      int32_t oy = row.newest;
      for (int32_t ky = row.tap; ky < s.kernel_h; ky += s.stride_h, --oy) {
        if (oy >= 0 && oy < s.out_h) multiply_row(work, ky, oy, column, first, n);
      }
    });
  }
}

void windowed(const Work& work, Store& store) {
  const Conv2dShape& s = work.layer.shape;
  uint32_t random = store.first();
  Reach row = first_reach(s.pad_top, s.stride_h);
  for (int32_t iy = 0; iy < s.in_h; ++iy, advance(row, s.stride_h)) {
    Reach column = first_reach(s.pad_left, s.stride_w);
    uint32_t of_phase = random;
    for (int32_t phase = 0; phase < s.stride_w; ++phase, advance(column, s.stride_w)) {
      windowed_row(work, store, iy, row, phase, column, of_phase);
      of_phase = work.layer.position(of_phase);
    }
    random = work.layer.row(random);
  }
}

}  // namespace

int32_t blocked_input_gradient(Sgd& sgd, const Blocked& layer, const int8_t* gy, const Weights<int8_t>& weights,
                               const uint8_t* gate, uint32_t* peak, void* scratch, int8_t* gx) {
  const int32_t outputs = layer.shape.out_c;
  const int32_t inputs = layer.shape.in_c;
  auto* const sums = static_cast<int32_t*>(scratch);
  auto* const lifted = reinterpret_cast<uint32_t*>(sums + (inputs < kChannels ? inputs : kChannels) * kPositions);
  auto* const zeros = reinterpret_cast<int8_t*>(lifted + outputs / 2 * kPositions);
  if (!is_pointwise(layer.shape)) std::memset(zeros, 0, static_cast<size_t>(outputs));
  const Work work{layer, gy, weights, sums, lifted, zeros};
  Store store(sgd, gate, *peak, gx);
  if (is_pointwise(layer.shape)) {
    pointwise(work, store);
  } else {
    windowed(work, store);
  }
  return store.finish(sgd, peak);
}

}  // namespace ftte::int8::fast

#endif
