#include "engine/float32/fast/conv2d_update.hpp"

#include <type_traits>

#include "engine/float32/dot.hpp"
#include "engine/float32/fast/tile.hpp"
#include "engine/float32/walk.hpp"

namespace ftte::float32::fast {

#ifdef FTTE_FPU_TILES

namespace {

constexpr int32_t kFloat = sizeof(float);
constexpr int32_t kFour = kTile * kFloat;

// The weights of four output channels (rows) and four input channels, side by side, for one tap.
struct WeightTile {
  const float* gy;  // of the first position
  const float* x;
  int32_t gy_step, x_step;  // bytes from behind a position's four values to the next position's
  int32_t columns;
  int32_t rows;
  int32_t gy_row, x_row;  // bytes from the values behind a row of positions to the next row's
  float* weights;
  int32_t row;  // bytes from an output channel's weights to the next one's
  float learning_rate;
};

constexpr float kZeros[kTile * kTile] = {};

// A VMLA for each of four input channels with one output channel.
#define FTTE_OUTPUT(a, b, c, d, g)                                                                  \
  "vmla.f32 s" #a ", s20, s" #g "\n\tvmla.f32 s" #b ", s21, s" #g "\n\tvmla.f32 s" #c ", s22, s" #g \
  "\n\tvmla.f32 s" #d ", s23, s" #g "\n\t"
#define FTTE_POSITION                                                                                                  \
  "vldmia r0!, {s16-s19}\n\tvldmia r1!, {s20-s23}\n\tadd r0, r0, r2\n\tadd r1, r1, r3\n\t" FTTE_OUTPUT(0, 1, 2, 3, 16) \
      FTTE_OUTPUT(4, 5, 6, 7, 17) FTTE_OUTPUT(8, 9, 10, 11, 18) FTTE_OUTPUT(12, 13, 14, 15, 19)
#define FTTE_STEP_ROW(a, b, c, d, step)                          \
  "vldmia r9, {s16-s19}\n\t" step(16, a) step(17, b) step(18, c) \
      step(19, d) "vstmia r9, {s16-s19}\n\tadd r9, r9, r10\n\t"
#define FTTE_DESCEND(w, sum) "vmls.f32 s" #w ", s" #sum ", s24\n\t"
#define FTTE_GATHER(w, sum) "vadd.f32 s" #w ", s" #w ", s" #sum "\n\t"
#define FTTE_STEP(step)           \
  FTTE_STEP_ROW(0, 1, 2, 3, step) \
  FTTE_STEP_ROW(4, 5, 6, 7, step) FTTE_STEP_ROW(8, 9, 10, 11, step) FTTE_STEP_ROW(12, 13, 14, 15, step)
#define FTTE_WEIGHT_TILE(tile, step)                                                      \
  register const WeightTile* given asm("r7") = &(tile);                                   \
  register const float* zeros asm("r11") = kZeros;                                        \
  asm volatile(                                                                           \
      "ldmia r7, {r0-r6, r8-r10}\n\tvldr s24, [r7, #40]\n\tvldmia r11, {s0-s15}\n"        \
      "0:\n\tmov r12, r4\n"                                                               \
      "1:\n\t" FTTE_POSITION                                                              \
      "subs r12, r12, #1\n\tbne 1b\n\t"                                                   \
      "add r0, r0, r6\n\tadd r1, r1, r8\n\tsubs r5, r5, #1\n\tbne 0b\n\t" FTTE_STEP(step) \
      :                                                                                   \
      : "r"(given), "r"(zeros)                                                            \
      : "r0", "r1", "r2", "r3", "r4", "r5", "r6", "r8", "r9", "r10", "r12", "cc", "memory", FTTE_SUMS, FTTE_OPERANDS)

template <class Rule>
[[gnu::noinline]] void update_tile(const WeightTile& tile) {
  if constexpr (std::is_same_v<Rule, Immediate>) {
    FTTE_WEIGHT_TILE(tile, FTTE_DESCEND);
  } else {
    FTTE_WEIGHT_TILE(tile, FTTE_GATHER);
  }
}

// Where a tap's weights of output channel 0 lie, and what they read: `inputs` values side by side. Without padding all
// taps of a row meet all outputs, so that a row of taps is one run.
struct Run {
  Meeting meeting;
  const float* x;
  float* weights;
  int32_t inputs;
};

// One input and up to four output channels, as the general kernel computes them.
template <class Rule>
void update_outputs(const Conv2dShape& s, const Run& run, const float* gy, int32_t x_channels, int32_t i, int32_t o,
                    int32_t end, int32_t row, float learning_rate) {
  const int32_t x_step = s.stride_w * x_channels;
  in_blocks(end - o, [&](auto width, int32_t first) {
    float sum[width] = {};
    const float* in = run.x + run.meeting.x * x_channels + i;
    const float* g = gy + run.meeting.y * s.out_c + o + first;
    for (int32_t line = 0; line < run.meeting.rows; ++line) {
      multiply_accumulate<width>(in, x_step, g, s.out_c, 1, run.meeting.columns, sum);
      in += s.stride_h * s.in_w * x_channels;
      g += s.out_w * s.out_c;
    }
    float* const weights = run.weights + (o + first) * row + i;
    unrolled<width>([&](int32_t j) { Rule::apply(learning_rate, sum[j], weights[j * row]); });
  });
}

template <class Rule>
void update_run(const Conv2dShape& s, const Run& run, const float* gy, int32_t x_channels, int32_t row,
                float learning_rate) {
  const Meeting& meeting = run.meeting;
  const bool met = meeting.columns > 0 && meeting.rows > 0;
  const int32_t inputs = met ? run.inputs & ~(kTile - 1) : 0;
  const int32_t outputs = inputs != 0 ? s.out_c & ~(kTile - 1) : 0;
  const int32_t gy_position = s.out_c * kFloat;
  const int32_t x_position = s.stride_w * x_channels * kFloat;
  WeightTile tile{nullptr,
                  nullptr,
                  gy_position - kFour,
                  x_position - kFour,
                  meeting.columns,
                  meeting.rows,
                  (s.out_w - meeting.columns) * gy_position,
                  s.stride_h * s.in_w * x_channels * kFloat - meeting.columns * x_position,
                  nullptr,
                  row * kFloat,
                  learning_rate};
  for (int32_t i = 0; i < inputs; i += kTile) {
    tile.x = run.x + meeting.x * x_channels + i;
    for (int32_t o = 0; o < outputs; o += kTile) {
      tile.gy = gy + meeting.y * s.out_c + o;
      tile.weights = run.weights + o * row + i;
      update_tile<Rule>(tile);
    }
  }
  for (int32_t i = 0; i < run.inputs; ++i) {
    update_outputs<Rule>(s, run, gy, x_channels, i, i < inputs ? outputs : 0, s.out_c, row, learning_rate);
  }
}

// Steps of -rate * slope * x on n weights, a multiple of 8: where a kernel covers its input, each has one product.
[[gnu::always_inline]] inline void descend(float rate, float slope, const float* x, int32_t n, float* weights) {
  asm volatile(
      "vmov s24, %[rate]\n\tvmov s25, %[slope]\n"
      "1:\n\tvldmia %[x]!, {s0-s7}\n\tvldmia %[w], {s8-s15}\n\t"
      "vmul.f32 s0, s0, s25\n\tvmul.f32 s1, s1, s25\n\tvmul.f32 s2, s2, s25\n\tvmul.f32 s3, s3, s25\n\t"
      "vmul.f32 s4, s4, s25\n\tvmul.f32 s5, s5, s25\n\tvmul.f32 s6, s6, s25\n\tvmul.f32 s7, s7, s25\n\t"
      "vmls.f32 s8, s0, s24\n\tvmls.f32 s9, s1, s24\n\tvmls.f32 s10, s2, s24\n\tvmls.f32 s11, s3, s24\n\t"
      "vmls.f32 s12, s4, s24\n\tvmls.f32 s13, s5, s24\n\tvmls.f32 s14, s6, s24\n\tvmls.f32 s15, s7, s24\n\t"
      "vstmia %[w]!, {s8-s15}\n\tsubs %[n], %[n], #8\n\tbne 1b"
      : [x] "+r"(x), [w] "+r"(weights), [n] "+r"(n)
      : [rate] "r"(rate), [slope] "r"(slope)
      : "cc", "memory", FTTE_SUMS, "s24", "s25");
}

void descend_dense(float learning_rate, const Conv2dShape& s, const float* gy, const float* x, int32_t x_channels,
                   float* trained, int32_t trained_in) {
  const bool joined = trained_in == x_channels;
  const int32_t runs = joined ? 1 : s.taps();
  const int32_t run = joined ? s.taps() * trained_in : trained_in;
  const int32_t eights = run & ~7;
  for (int32_t o = 0; o < s.out_c; ++o) {
    for (int32_t i = 0; i < runs; ++i, trained += run) {
      const float* const in = x + i * x_channels;
      if (eights != 0) descend(learning_rate, gy[o], in, eights, trained);
      for (int32_t j = eights; j < run; ++j) Immediate::apply(learning_rate, gy[o] * in[j], trained[j]);
    }
  }
}

constexpr bool covers_input(const Conv2dShape& s) {
  return s.positions() == 1 && s.kernel_h == s.in_h && s.kernel_w == s.in_w && s.pad_top == 0 && s.pad_left == 0;
}

}  // namespace

template <class Rule>
void conv2d_update(float learning_rate, const Conv2dShape& shape, const float* gy, const float* x, int32_t x_channels,
                   float* trained, int32_t trained_in) {
  if (shape.groups == 1 && covers_input(shape) && std::is_same_v<Rule, Immediate>) {
    descend_dense(learning_rate, shape, gy, x, x_channels, trained, trained_in);
    return;
  }
  if (shape.groups != 1 || shape.positions() < kTile) {
    float32::conv2d_update<Rule>(learning_rate, shape, gy, x, x_channels, trained, trained_in);
    return;
  }
  const int32_t row = shape.taps() * trained_in;
  const bool unpadded = shape.pad_left == 0 && (shape.out_w - 1) * shape.stride_w + shape.kernel_w <= shape.in_w;
  const int32_t joined = unpadded && trained_in == x_channels ? shape.kernel_w : 1;
  for_meetings(shape, [&](int32_t tap, const Meeting& meeting) {
    if (tap % joined != 0) return;
    const Run run{meeting, x, trained + tap * trained_in, joined * trained_in};
    update_run<Rule>(shape, run, gy, x_channels, row, learning_rate);
  });
}

#else

template <class Rule>
void conv2d_update(float learning_rate, const Conv2dShape& shape, const float* gy, const float* x, int32_t x_channels,
                   float* trained, int32_t trained_in) {
  float32::conv2d_update<Rule>(learning_rate, shape, gy, x, x_channels, trained, trained_in);
}

#endif

template void conv2d_update<Immediate>(float, const Conv2dShape&, const float*, const float*, int32_t, float*, int32_t);
template void conv2d_update<Accumulated>(float, const Conv2dShape&, const float*, const float*, int32_t, float*,
                                         int32_t);

}  // namespace ftte::float32::fast
