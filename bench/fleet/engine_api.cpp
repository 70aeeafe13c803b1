// The flat interface through which the host drives a program: compiled with it into a shared library. No state of its
// own.
#include <cstddef>
#include <cstdint>
#include <cstring>

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

// A client's local training. Samples are order[0 ... steps), or first, first + 1, ... modulo count where order is null.
struct EngineJob {
  const uint8_t* given;
  uint8_t* params;
  const int8_t* samples;
  const uint8_t* labels;
  const uint32_t* order;
  uint32_t given_bytes, count, first, steps, seed;
  EngineTotals totals;
};

// FedProx's term, (mu / 2) |w - given|^2, as a step of its own: w <- w - pull (w - given), pull being the learning rate
// times mu. Of float32 programs, whose trained parameters are what was given.
static void pull_back(EngineJob& job, float pull) {
  for (uint32_t at = 0; at + sizeof(float) <= kProgram.down_bytes; at += sizeof(float)) {
    float weight;
    float base;
    std::memcpy(&weight, job.params + at, sizeof weight);
    std::memcpy(&base, job.given + at, sizeof base);
    weight -= pull * (weight - base);
    std::memcpy(job.params + at, &weight, sizeof weight);
  }
}

// Step i has seed + i, as the board's TRAIN has it on its partition.
static void train(EngineJob& job, uint8_t* arena, uint32_t learning_rate_q16, float pull) {
  std::memcpy(job.params, job.given, job.given_bytes);
  if (job.given_bytes < kProgram.params_bytes) kProgram.begin(job.params);
  for (uint32_t i = 0; i < job.steps; ++i) {
    const uint32_t index = job.order != nullptr ? job.order[i] : (job.first + i) % job.count;
    const uint8_t label = job.labels[index];
    const ftte::StepResult result =
        kProgram.step(job.params, arena, job.samples + static_cast<size_t>(index) * kProgram.sample_bytes, label,
                      learning_rate_q16, job.seed + i);
    if (pull > 0) pull_back(job, pull);
    job.totals.loss_q16 += result.loss_q16;
    job.totals.correct += result.predicted == label ? 1 : 0;
    job.totals.saturated += result.saturated;
    ++job.totals.samples;
  }
}

// Threads may call this at the same time with the same jobs and `next`, each with an arena of its own: a job is taken
// by one of them.
void engine_train(EngineJob* jobs, uint32_t count, uint32_t* next, uint8_t* arena, uint32_t learning_rate_q16,
                  float pull) {
  for (;;) {
    const uint32_t index = __atomic_fetch_add(next, 1U, __ATOMIC_RELAXED);
    if (index >= count) return;
    train(jobs[index], arena, learning_rate_q16, pull);
  }
}

}  // extern "C"
