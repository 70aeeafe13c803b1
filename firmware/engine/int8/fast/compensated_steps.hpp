// The Compensated rule (engine/int8/update.hpp) on runs of weights, for cores with the DSP extension: the same bits in
// 16 instructions a weight.
//
// Four weights lie in two words, q and r. With the top bit of each byte flipped, q * 256 + r + 128 + 2^15 is the 16-bit
// number whose bytes they are: UXTB16 and ORR make two of them at a time, UXTAH adds a step, USAT clips, and a compare
// with 2^16 leaves in the carry whether it did. What is added is minus the step: with factor and random number
// negated, -floor((p + d) / 2^s) = floor((-p + (2^s - 1 - d)) / 2^s); 2^s - 1 - d are the top bits of ~number, and
// those follow a generator of their own, a * v + (a - c - 1).
#pragma once

#include "engine/int8/fast/dsp.hpp"
#include "engine/int8/fast/random.hpp"
#include "engine/int8/update.hpp"

namespace ftte::int8::fast {

#ifdef FTTE_DSP

// Steps of factor * t * 2^-shift, 1 <= shift <= 30, with the random numbers from `number` on, the next that Random
// gives; the run moves it on, and adds to `clipped`.
struct Steps {
  int32_t factor, shift;
  uint32_t number, clipped;
};

// n weights, a multiple of four, from q and r on; t: int8, side by side.
void step_compensated(int8_t* q, int8_t* r, const int8_t* t, int32_t n, Steps& steps);

// Four weights; t: int32, every second.
void step_compensated(int8_t* q, int8_t* r, const int32_t* t, Steps& steps);

#endif

}  // namespace ftte::int8::fast
