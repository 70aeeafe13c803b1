#include "engine/int8/fast/pointwise_input_gradient.hpp"

#ifdef FTTE_DSP

namespace ftte::int8::fast {
namespace {

constexpr int32_t kChannels = Store::kMost;

// gy of `count` <= 4 positions, lifted: pairs of outputs, four positions side by side. Missing ones repeat the last.
void lift_positions(const int8_t* gy, const int8_t* lift, int32_t outputs, int32_t count, uint32_t* lifted) {
  const int8_t* const g0 = gy;
  const int8_t* const g1 = count > 1 ? g0 + outputs : g0;
  const int8_t* const g2 = count > 2 ? g1 + outputs : g1;
  const int8_t* const g3 = count > 3 ? g2 + outputs : g2;
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

}  // namespace

int32_t pointwise_input_gradient(Sgd& sgd, const Pointwise& layer, const int8_t* gy, const Weights<int8_t>& weights,
                                 const uint8_t* gate, uint32_t* peak, void* scratch, int8_t* gx) {
  auto* const sums = static_cast<int32_t*>(scratch);
  auto* const lifted = static_cast<uint32_t*>(scratch) + kChannels * kPositions;
  const auto* const pairs = reinterpret_cast<const int16_t*>(lifted);
  const LiftedProducts products{pairs, pairs + layer.outputs * kPositions, nullptr, nullptr, nullptr};
  const int32_t inputs = layer.inputs;
  Store store(sgd, gate, *peak, gx);
  uint32_t random[kPositions + 1] = {store.first()};
  for (int32_t position = 0; position < layer.positions; position += kPositions) {
    const int32_t count = layer.positions - position < kPositions ? layer.positions - position : kPositions;
    lift_positions(gy + position * layer.outputs, layer.lift, layer.outputs, count, lifted);
    for (int32_t p = 0; p < kPositions; ++p) random[p + 1] = layer.row(random[p]);
    for (int32_t first = 0; first < inputs; first += kChannels) {
      const int32_t n = inputs - first < kChannels ? inputs - first : kChannels;
      for (int32_t i = 0; i < n * kPositions; i += 4) sums[i] = sums[i + 1] = sums[i + 2] = sums[i + 3] = 0;
      multiply_part(layer.trained, weights.trained, products, first, n, sums);
      multiply_part(layer.frozen, weights.frozen, products, first - layer.trained.channels, n, sums);
      for (int32_t p = 0; p < count; ++p) {
        random[p] = store.put<2 * kPositions>((position + p) * inputs + first, n, sums + 2 * p, random[p]);
      }
    }
    random[0] = random[kPositions];
  }
  return store.finish(sgd, peak);
}

}  // namespace ftte::int8::fast

#endif
