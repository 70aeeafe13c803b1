#include "engine/int8/fast/dense_input_gradient.hpp"

#include "engine/int8/gradient_sums.hpp"

#ifdef FTTE_DSP

namespace ftte::int8::fast {

int32_t dense_input_gradient(Sgd& sgd, const Dense& layer, const int8_t* gy, const int8_t* w, const uint8_t* gate,
                             uint32_t* peak, void* scratch, int8_t* gx) {
  auto* const sums = static_cast<int32_t*>(scratch);
  auto* const g = reinterpret_cast<int16_t*>(sums + Store::kMost);
  for (int32_t o = 0; o < layer.outputs; ++o) g[o] = static_cast<int16_t>(lifted(gy[o], layer.lift[o]));
  Store store(sgd, gate, *peak, gx);
  uint32_t random = store.first();
  for (int32_t first = 0; first < layer.inputs; first += Store::kMost) {
    const int32_t n = layer.inputs - first < Store::kMost ? layer.inputs - first : Store::kMost;
    layer.multiply({g, g + layer.outputs, w + first, sums, sums + n});
    random = store.put<2>(first, n, sums, random);
  }
  return store.finish(sgd, peak);
}

}  // namespace ftte::int8::fast

#endif
