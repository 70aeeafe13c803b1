// Local training: runs the program over samples and sums what happened. Knows nothing of the link.
#pragma once

#include <cstdint>

namespace trainer {

struct Summary {
  uint32_t samples;
  uint32_t correct;
  uint64_t loss_q16;
  uint32_t saturated;
  uint64_t cycles;
  bool bad_label;  // stopped at a label the program does not know
};

struct Hyper {
  uint32_t learning_rate_q16;
  uint32_t seed;  // of the first step; step i uses seed + i
};

// Over records (first + i) mod count of the data partition, which must be ready.
Summary train(uint32_t first, uint32_t count, const Hyper& hyper);
Summary evaluate(uint32_t first, uint32_t count);

// Over `count` records (label, features) that lie one behind the other.
Summary train_records(const uint8_t* records, uint32_t count, const Hyper& hyper);

}  // namespace trainer
