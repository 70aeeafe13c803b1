// Clock and watchdog of the nRF52840 (Product Specification, chapters CLOCK and WDT): 64 MHz always, from the crystal
// or from the internal oscillator.
#pragma once

#include "hal/hal.hpp"

namespace hal::nrf52 {

inline constexpr uint32_t kCoreHz = 64000000;

// Starts the crystal oscillator, HFXO. The core runs on the internal one, HFINT, meanwhile, and goes on with it if the
// crystal never comes: the same frequency, but not as exact as a UART wants it.
ClockSource start_clock();

// About 8 s; runs while the core sleeps, stands still while a debugger halts it. It starts the 32 kHz RC oscillator
// itself when no low-frequency clock runs (chapter WDT).
void start_watchdog();
void feed_watchdog();

}  // namespace hal::nrf52
