// The inner loops of a convolution on a Cortex-M0: all output channels at two positions, or at one.
//
//   y[p][o] = clamp((start[o] + sum over k of w[o][k] * x[p][k]) >> shift[o])
//
// One MULS makes the products of two positions: x comes as words -(x[0][k] + 2^16 * x[1][k]), so that a weight times
// a word is minus both products, one in each half. Two of them are added before the halves are told apart: of -w * x
// each lies in [-2^14, 2^14 - 2^7], so the lower sum lies in [-2^15, 2^15 - 2^8] and SXTH finds it; what remains is
// 2^16 times the upper one. (Without the minus it could be 2^15.) So eight products take 23 instructions; at one
// position, where x is read as it is and a product overwrites its weight, four take 14.
#pragma once

#include "engine/int8/fast/dsp.hpp"
#include "engine/int8/fast/start.hpp"
#include "engine/int8/range.hpp"

#if defined(__thumb__) && !defined(__thumb2__)

namespace ftte::int8::fast {

// What is multiplied. Weights in up to two parts of k each, as Weights has them; the second may be empty.
struct PackedRows {
  const uint32_t* packed;  // at two positions: each part an even number of words, a zero behind an odd one
  const int8_t* x;         // at one
  const int8_t* w[2];
  int32_t k[2];
  const Start *start, *start_end;
  int8_t* y;
  int32_t outputs;
  Range range;
};

// Packs k elements of two rows; returns the end.
uint32_t* pack_rows(const int8_t* first, const int8_t* second, int32_t k, uint32_t* to);

// Reads up to a byte behind the weights.
void multiply_packed(const PackedRows& p);

// At least four output channels. Alike.
void multiply_row(const PackedRows& p);

}  // namespace ftte::int8::fast

#endif
