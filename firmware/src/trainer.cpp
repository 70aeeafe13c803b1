#include "src/trainer.hpp"

#include "engine/program.hpp"
#include "hal/hal.hpp"
#include "src/data_partition.hpp"
#include "src/phase.hpp"
#include "src/storage.hpp"

namespace trainer {
namespace {

// The phase covers the steps and nothing else, so that its instructions are the same in every run.
class Bracket {
 public:
  explicit Bracket(Phase phase) : begun_(hal::cycles()) { enter(phase); }
  void close(Summary& summary) const {
    enter(Phase::kLink);
    summary.cycles = hal::cycles() - begun_;
  }

 private:
  uint64_t begun_;
};

void add(Summary& summary, const ftte::StepResult& result, uint8_t label) {
  ++summary.samples;
  summary.correct += result.predicted == label ? 1U : 0U;
  summary.loss_q16 += result.loss_q16;
  summary.saturated += result.saturated;
}

// `record_at` gives record i; `step` runs the program on a sample and its label.
template <typename RecordAt, typename Step>
Summary run(Phase phase, uint32_t count, RecordAt record_at, Step step) {
  Summary summary{};
  const Bracket bracket(phase);
  for (uint32_t i = 0; i < count; ++i) {
    const uint8_t* record = record_at();
    const uint8_t label = record[0];
    if (label >= kProgram.classes) {
      summary.bad_label = true;
      break;
    }
    add(summary, step(reinterpret_cast<const int8_t*>(record + 1), label, i), label);
    hal::watchdog_feed();
    static_cast<void>(hal::cycles());  // often enough for a counter of 24 bits not to wrap unseen
  }
  bracket.close(summary);
  return summary;
}

// Walks round the partition without a division per sample.
class Cursor {
 public:
  explicit Cursor(uint32_t first) : index_(first % data::header().count) {}
  const uint8_t* operator()() {
    const uint8_t* record = data::record(index_);
    if (++index_ == data::header().count) index_ = 0;
    return record;
  }

 private:
  uint32_t index_;
};

ftte::StepResult step(const int8_t* sample, uint8_t label, uint32_t i, const Hyper& hyper) {
  return kProgram.step(storage::params, storage::arena, sample, label, hyper.learning_rate_q16, hyper.seed + i);
}

}  // namespace

Summary train(uint32_t first, uint32_t count, const Hyper& hyper) {
  return run(Phase::kTrain, count, Cursor(first),
             [&hyper](const int8_t* sample, uint8_t label, uint32_t i) { return step(sample, label, i, hyper); });
}

Summary evaluate(uint32_t first, uint32_t count) {
  return run(Phase::kEvaluate, count, Cursor(first), [](const int8_t* sample, uint8_t label, uint32_t) {
    return kProgram.infer(storage::params, storage::arena, sample, label);
  });
}

Summary train_records(const uint8_t* records, uint32_t count, const Hyper& hyper) {
  const auto next = [&records] {
    const uint8_t* record = records;
    records += 1 + kProgram.sample_bytes;
    return record;
  };
  return run(Phase::kTrain, count, next,
             [&hyper](const int8_t* sample, uint8_t label, uint32_t i) { return step(sample, label, i, hyper); });
}

}  // namespace trainer
