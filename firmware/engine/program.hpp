// What a training program is: the contract between an emitted program, the firmware that runs it on a board and the
// host that runs thousands of it. A program owns no memory: params, arena and sample are the caller's, so that one
// image trains one client and one host process trains many.
#pragma once

#include <cstdint>

namespace ftte {

enum class Dtype : uint8_t { kInt8 = 0, kFloat32 = 1 };

// Eight bytes, as one lies on the stack of every step; 24 bits hold what any program that fits a board can clip.
struct StepResult {
  uint32_t loss_q16;        // cross-entropy in nats, unsigned Q16.16, saturating
  uint32_t saturated : 24;  // values clipped in this step (gradients, trained parameters), saturating
  uint32_t predicted : 8;   // argmax of the logits
};

inline StepResult step_result(uint32_t loss_q16, uint32_t saturated, uint8_t predicted) {
  constexpr uint32_t kMost = 0xFFFFFF;
  return {loss_q16, (saturated < kMost ? saturated : kMost) & kMost, predicted};
}

// Sizes in bytes. `params` is laid out as [0, down_bytes) what the server sends and [down_bytes, params_bytes) what
// begin() derives from it (rounding residuals); all of [0, params_bytes) travels up.
struct Program {
  Dtype dtype;
  uint8_t classes;
  uint32_t params_bytes;
  uint32_t down_bytes;
  uint32_t arena_bytes;
  uint32_t sample_bytes;  // without the label; int8 features for both dtypes
  // Puts [down_bytes, params_bytes) into its initial state.
  void (*begin)(uint8_t* params);
  // One forward, backward and update on one sample. learning_rate_q16 is unsigned Q16.16; seed feeds stochastic
  // rounding where the program uses it. params and arena are 8-byte aligned; neither may overlap the sample.
  StepResult (*step)(uint8_t* params, uint8_t* arena, const int8_t* sample, uint8_t label, uint32_t learning_rate_q16,
                     uint32_t seed);
  // Forward only; params are not written.
  StepResult (*infer)(const uint8_t* params, uint8_t* arena, const int8_t* sample, uint8_t label);
};

}  // namespace ftte

// Each program folder (firmware/programs/NAME, later firmware/generated/NAME) has a program.hpp that defines
// ftte::program::kParamsBytes, kArenaBytes and kSampleBytes as constexpr uint32_t, and a program.cpp that defines this:
extern const ftte::Program kProgram;
