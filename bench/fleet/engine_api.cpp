// The flat interface through which the host drives a program: compiled with it into a shared library. No state of its
// own.
#include <cstdint>

#include "engine/program.hpp"

extern "C" {

struct EngineInfo {
  uint32_t dtype, classes, params_bytes, down_bytes, arena_bytes, sample_bytes;
};

struct EngineTotals {
  uint64_t loss_q16;
  uint32_t samples, correct, saturated;
};

void engine_info(EngineInfo* info) {
  *info = {static_cast<uint32_t>(kProgram.dtype),
           kProgram.classes,
           kProgram.params_bytes,
           kProgram.down_bytes,
           kProgram.arena_bytes,
           kProgram.sample_bytes};
}

void engine_begin(uint8_t* params) { kProgram.begin(params); }

void engine_infer(const uint8_t* params, uint8_t* arena, const int8_t* samples, const uint8_t* labels, uint32_t count,
                  uint8_t* predictions, EngineTotals* totals) {
  for (uint32_t i = 0; i < count; ++i) {
    const ftte::StepResult result = kProgram.infer(params, arena, samples + i * kProgram.sample_bytes, labels[i]);
    predictions[i] = result.predicted;
    totals->loss_q16 += result.loss_q16;
    totals->correct += result.predicted == labels[i] ? 1 : 0;
    ++totals->samples;
  }
}

// Step i trains on sample order[i] with seed + i, as the board's TRAIN does on its partition.
void engine_train(uint8_t* params, uint8_t* arena, const int8_t* samples, const uint8_t* labels, const uint32_t* order,
                  uint32_t steps, uint32_t learning_rate_q16, uint32_t seed, EngineTotals* totals) {
  for (uint32_t i = 0; i < steps; ++i) {
    const uint8_t label = labels[order[i]];
    const ftte::StepResult result =
        kProgram.step(params, arena, samples + order[i] * kProgram.sample_bytes, label, learning_rate_q16, seed + i);
    totals->loss_q16 += result.loss_q16;
    totals->correct += result.predicted == label ? 1 : 0;
    totals->saturated += result.saturated;
    ++totals->samples;
  }
}

}  // extern "C"
