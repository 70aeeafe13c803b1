// The clock of the nRF51 (reference manual, chapter CLOCK): 16 MHz always, from the crystal or from the internal RC.
#pragma once

#include "hal/hal.hpp"

namespace hal::nrf51 {

inline constexpr uint32_t kCoreHz = 16000000;

// Starts the crystal. The core runs on the RC oscillator meanwhile, and goes on with it if the crystal never comes:
// the same frequency, less exact.
ClockSource start_clock();

// About 8 s; runs while the core sleeps, stands still while a debugger halts it. It starts the 32 kHz RC oscillator
// itself when no low-frequency clock runs (chapter WDT): the board has no 32 kHz crystal.
void start_watchdog();
void feed_watchdog();

}  // namespace hal::nrf51
