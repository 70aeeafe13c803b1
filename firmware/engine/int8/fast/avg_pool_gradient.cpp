#include "engine/int8/fast/avg_pool_gradient.hpp"

#ifdef FTTE_BLOCKS

namespace ftte::int8::fast {
namespace {

constexpr int32_t kShareBits = 23;  // avg_pool_gradient.hpp

[[gnu::noinline]] void multiply(const int8_t* gy, int32_t share, int32_t n, int32_t* sums) {
  for (int32_t i = 0; i < n; ++i) sums[i] = gy[i] * share;
}

}  // namespace

int32_t tiling_gradient(Sgd& sgd, const PoolShape& s, const int8_t* gy, const uint8_t* gate, uint32_t* peak,
                        int8_t* gx) {
  const int32_t share = ((2 << kShareBits) / s.taps() + 1) >> 1;  // one division a call
  Store store(sgd, gate, *peak, gx);
  uint32_t random = store.first();
  int32_t index = 0;
  for (int32_t iy = 0; iy < s.in_h; ++iy) {
    for (int32_t ix = 0; ix < s.in_w; ++ix) {
      const int8_t* const from = gy + (iy / s.kernel_h * s.out_w + ix / s.kernel_w) * s.channels;
      for (int32_t first = 0; first < s.channels; first += Store::kMost) {
        const int32_t n = s.channels - first < Store::kMost ? s.channels - first : Store::kMost;
        int32_t sums[Store::kMost];
        multiply(from + first, share, n, sums);
        random = store.put<2>(index, n, sums, random);
        index += n;
      }
    }
  }
  return kShareBits - store.finish(sgd, peak);
}

}  // namespace ftte::int8::fast

#endif
