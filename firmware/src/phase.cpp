#include "src/phase.hpp"

#include "hal/hal.hpp"

volatile uint32_t ftte_phase_word;

#if defined(FTTE_HOST)
#define FTTE_PHASE_SECTION
#else
#define FTTE_PHASE_SECTION section(".phase"),
#endif

__attribute__((FTTE_PHASE_SECTION noinline)) void ftte_phase(uint32_t phase) {
  ftte_phase_word = phase;
  hal::marker_pin(phase >= static_cast<uint32_t>(Phase::kTrain));
}
