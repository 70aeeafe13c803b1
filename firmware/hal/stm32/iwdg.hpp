// The independent watchdog, the same on the STM32F2, F4 and L4 (RM0033, RM0090 and RM0351, chapter IWDG).
#pragma once

#include <cstdint>

#include "hal/common/mmio.hpp"

namespace hal::stm32 {

struct Watchdog {
  Register key;
  Field prescaler, reload, prescaler_busy, reload_busy;
};

inline constexpr uint32_t kKeyUnlock = 0x5555;
inline constexpr uint32_t kKeyStart = 0xCCCC;
inline constexpr uint32_t kKeyFeed = 0xAAAA;

// 32 kHz / 64 = 500 Hz, so 4000 steps are 8 s: 5.4 to 15 s over the low-speed oscillator's range (17 to 47 kHz on the
// F2 and F4).
inline constexpr uint32_t kPrescaler64 = 4;
inline constexpr uint32_t kReload = 4000 - 1;

FTTE_FOLDED void feed(const Watchdog& dog) { write(dog.key, kKeyFeed); }

// An update takes five periods of the 32 kHz clock, 160 us; the bound is several times that at the slowest clock that
// runs when this is called from reset's default on, and harmless where the bits never come.
FTTE_FOLDED void start(const Watchdog& dog) {
  constexpr uint32_t kPolls = 20000;
  wait_for(dog.prescaler_busy, 0, kPolls);  // from before a reset that did not stop it
  wait_for(dog.reload_busy, 0, kPolls);
  write(dog.key, kKeyUnlock);
  write(dog.prescaler.reg, dog.prescaler(kPrescaler64));
  write(dog.reload.reg, dog.reload(kReload));
  write(dog.key, kKeyStart);  // starts the 32 kHz oscillator too
  wait_for(dog.prescaler_busy, 0, kPolls);
  wait_for(dog.reload_busy, 0, kPolls);
  feed(dog);
}

}  // namespace hal::stm32
