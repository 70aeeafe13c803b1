#include "engine/float32/fast/conv2d_input_gradient.hpp"

#include "engine/float32/fast/tile.hpp"
#include "engine/float32/gate.hpp"

namespace ftte::float32::fast {

#ifdef FTTE_FPU_TILES

namespace {

constexpr int32_t kFloat = sizeof(float);
constexpr float kZeros[kTile * kTile] = {};

// gx[p][i] = sum over o < 2 * pairs of gy[p][o] * w[o][i], for four positions and four input channels.
struct GradientTile {
  const float *gy0, *gy1, *gy2, *gy3;
  const float* weights;
  int32_t row;  // bytes from an output channel's weights to the next one's
  int32_t pairs;
  float* to;
  int32_t to_step;
};

// A VMLA for each of four input channels at one position.
#define FTTE_INPUTS(a, b, c, d, g, w0, w1, w2, w3)                                                                 \
  "vmla.f32 s" #a ", s" #g ", s" #w0 "\n\tvmla.f32 s" #b ", s" #g ", s" #w1 "\n\tvmla.f32 s" #c ", s" #g ", s" #w2 \
  "\n\tvmla.f32 s" #d ", s" #g ", s" #w3 "\n\t"
#define FTTE_OUTPUT_CHANNEL(g0, g1, g2, g3, w0, w1, w2, w3) \
  FTTE_INPUTS(0, 1, 2, 3, g0, w0, w1, w2, w3)               \
  FTTE_INPUTS(4, 5, 6, 7, g1, w0, w1, w2, w3)               \
  FTTE_INPUTS(8, 9, 10, 11, g2, w0, w1, w2, w3) FTTE_INPUTS(12, 13, 14, 15, g3, w0, w1, w2, w3)

[[gnu::noinline]] void gradient_tile(const GradientTile& tile) {
  register const GradientTile* given asm("r7") = &tile;
  register const float* zeros asm("r11") = kZeros;
  asm volatile(
      "ldmia r7, {r0-r6, r8-r9}\n\tvldmia r11, {s0-s15}\n"
      "1:\n\tvldmia r0!, {s16-s17}\n\tvldmia r1!, {s18-s19}\n\tvldmia r2!, {s20-s21}\n\tvldmia r3!, {s22-s23}\n\t"
      "vldmia r4, {s24-s27}\n\tadd r4, r4, r5\n\tvldmia r4, {s28-s31}\n\tadd r4, r4, r5\n\t" FTTE_OUTPUT_CHANNEL(
          16, 18, 20, 22, 24, 25, 26, 27) FTTE_OUTPUT_CHANNEL(17, 19, 21, 23, 28, 29, 30, 31)
      "subs r6, r6, #1\n\tbne 1b\n\t"
      "vstmia r8, {s0-s3}\n\tadd r8, r8, r9\n\tvstmia r8, {s4-s7}\n\tadd r8, r8, r9\n\t"
      "vstmia r8, {s8-s11}\n\tadd r8, r8, r9\n\tvstmia r8, {s12-s15}"
      :
      : "r"(given), "r"(zeros)
      : "r0", "r1", "r2", "r3", "r4", "r5", "r6", "r8", "r9", "cc", "memory", FTTE_SUMS, FTTE_OPERANDS);
}

// gx[i] = sum over o < 2 * pairs of gy[o] * w[o][i], for eight inputs; row: bytes from an output's weights to the
// next's.
[[gnu::always_inline]] inline void gradient_eight(const float* gy, const float* weights, int32_t row, int32_t pairs,
                                                  float* gx) {
  register const float* zeros asm("r7") = kZeros;
  asm volatile(
      "vldmia r7, {s0-s7}\n"
      "1:\n\tvldmia %[gy]!, {s8-s9}\n\tvldmia %[w], {s16-s23}\n\tadd %[w], %[w], %[row]\n\t"
      "vldmia %[w], {s24-s31}\n\tadd %[w], %[w], %[row]\n\t" FTTE_INPUTS(0, 1, 2, 3, 8, 16, 17, 18, 19)
          FTTE_INPUTS(4, 5, 6, 7, 8, 20, 21, 22, 23) FTTE_INPUTS(0, 1, 2, 3, 9, 24, 25, 26, 27)
              FTTE_INPUTS(4, 5, 6, 7, 9, 28, 29, 30, 31) "subs %[n], %[n], #1\n\tbne 1b\n\tvstmia %[gx], {s0-s7}"
      : [gy] "+r"(gy), [w] "+r"(weights), [n] "+r"(pairs)
      : [row] "r"(row), [gx] "r"(gx), "r"(zeros)
      : "cc", "memory", FTTE_SUMS, FTTE_OPERANDS);
}

// gx[i] = sum over o < n of gy[o] * w[o][i], as the general kernel computes it.
float one(const float* gy, const float* weights, int32_t row, int32_t n) {
  float sum = 0;
  for (int32_t o = 0; o < n; ++o, weights += row) sum += gy[o] * *weights;
  return sum;
}

// Inputs [0, n) of a fully connected layer whose rows of weights have n values; out_c is even.
void fully_connected(const float* gy, const float* weights, int32_t n, int32_t out_c, float* gx) {
  int32_t i = 0;
  for (; i < (n & ~7); i += 8) gradient_eight(gy, weights + i, n * kFloat, out_c / 2, gx + i);
  for (; i < n; ++i) gx[i] = one(gy, weights + i, n, out_c);
}

// Of the channels [first, first + channels) of a map, with weights [out_c][channels]; out_c is even.
void pointwise(const Conv2dShape& s, const float* gy, const float* weights, int32_t first, int32_t channels,
               float* gx) {
  const int32_t blocks = channels & ~(kTile - 1);
  const int32_t whole = s.positions() & ~(kTile - 1);
  GradientTile tile{gy, gy, gy, gy, nullptr, channels * kFloat, s.out_c / 2, nullptr, s.in_c * kFloat};
  for (int32_t p = 0; p < s.positions(); ++p) {
    const float* const own = gy + p * s.out_c;
    float* const to = gx + p * s.in_c + first;
    if (p < whole && p % kTile == 0) {
      tile.gy0 = own;
      tile.gy1 = own + s.out_c;
      tile.gy2 = own + 2 * s.out_c;
      tile.gy3 = own + 3 * s.out_c;
      for (int32_t i = 0; i < blocks; i += kTile) {
        tile.weights = weights + i;
        tile.to = to + i;
        gradient_tile(tile);
      }
    }
    for (int32_t i = p < whole ? blocks : 0; i < channels; ++i) to[i] = one(own, weights + i, channels, s.out_c);
  }
}

void apply_gate(const uint8_t* gate, int32_t n, float* gx) {
  int32_t i = 0;
  for (; i + 8 <= n; i += 8) {
    const uint32_t bits = *gate++;
    for (int32_t j = 0; j < 8; ++j) {
      gx[i + j] = from_bits(bits_of(gx[i + j]) & -static_cast<int32_t>((bits >> j) & 1U));
    }
  }
  for (; i < n; ++i) gx[i] = gated(gx[i], gate, i & 7);
}

constexpr bool is_pointwise(const Conv2dShape& s) {
  return s.taps() == 1 && s.stride_h == 1 && s.stride_w == 1 && s.pad_top == 0 && s.pad_left == 0;
}

}  // namespace

void conv2d_input_gradient(const Conv2dShape& shape, const float* gy, const Weights<float>& weights,
                           const uint8_t* gate, float* gx) {
  const int32_t trained = weights.trained_in;
  const int32_t frozen = shape.in_c - trained;
  const bool one_part = trained == 0 || frozen == 0;
  const bool dense = shape.positions() == 1 && shape.reads_directly() && one_part;
  if (shape.groups != 1 || shape.out_c % 2 != 0 || (!dense && !is_pointwise(shape))) {
    float32::conv2d_input_gradient(shape, gy, weights, gate, gx);
    return;
  }
  if (dense) {
    fully_connected(gy, trained == 0 ? weights.frozen : weights.trained, shape.in_size(), shape.out_c, gx);
  } else {
    if (trained != 0) pointwise(shape, gy, weights.trained, 0, trained, gx);
    if (frozen != 0) pointwise(shape, gy, weights.frozen, trained, frozen, gx);
  }
  if (gate != nullptr) apply_gate(gate, shape.in_size(), gx);
}

#else

void conv2d_input_gradient(const Conv2dShape& shape, const float* gy, const Weights<float>& weights,
                           const uint8_t* gate, float* gx) {
  float32::conv2d_input_gradient(shape, gy, weights, gate, gx);
}

#endif

}  // namespace ftte::float32::fast
