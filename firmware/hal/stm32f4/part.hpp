// What differs between the STM32F4 parts, and between the boards' ways to clock them.
#pragma once

#include "hal/stm32/board.hpp"
#include "hal/stm32/clock_f2f4.hpp"

namespace hal::stm32 {

struct ClockPart {
  const char* env;    // the PlatformIO environment
  bool crystal;       // false: the ST-LINK's clock comes to the crystal's pin, so its oscillator is bypassed
  uint32_t least_hz;  // of the core; below, other settings would do with less current
  uint32_t most_hz;
  uint32_t wait_states;  // at 2.7 to 3.6 V: chapter Embedded flash, Read interface
  uint32_t scale_bits;   // width of PWR_CR.VOS
  uint32_t scale_1;      // its value for voltage scale 1, which these clocks need
  uint32_t apb1_divisor, apb1_setting, apb1_most_hz;
  uint32_t apb2_divisor, apb2_setting, apb2_most_hz;
};

// RM0090 for F405 and F429, RM0402 for F412. The F429 does 180 MHz with over-drive; 168 MHz do without.
inline constexpr ClockPart kClockParts[] = {
    {"netduinoplus2", true, 150000001, 168000000, 5, 1, 1, 4, kApbDiv4, 42000000, 2, kApbDiv2, 84000000},
    {"olimex_stm32_h405", true, 150000001, 168000000, 5, 1, 1, 4, kApbDiv4, 42000000, 2, kApbDiv2, 84000000},
    {"nucleo_f429zi", false, 150000001, 168000000, 5, 2, 3, 4, kApbDiv4, 45000000, 2, kApbDiv2, 90000000},
    {"nucleo_f412zg", false, 90000001, 100000000, 3, 2, 3, 2, kApbDiv2, 50000000, 1, kApbDiv1, 100000000},
};

constexpr size_t find_part(const char* env) {
  size_t index = 0;
  while (index < sizeof kClockParts / sizeof kClockParts[0] && !same(kClockParts[index].env, env)) ++index;
  return index;
}

}  // namespace hal::stm32
