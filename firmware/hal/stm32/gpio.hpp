// Pins of the STM32F2, F4 and L4: one register layout (RM0033, RM0090 and RM0351, chapter GPIO).
#pragma once

#include <cstdint>

#include "hal/common/mmio.hpp"

namespace hal::stm32 {

struct Port {
  Register mode, speed, pull, alternate_low, alternate_high, set_reset;
  Field clock_enable;
};

struct Pin {
  Port port;
  uint32_t number;
};

inline constexpr uint32_t kModeOutput = 1;
inline constexpr uint32_t kModeAlternate = 2;
inline constexpr uint32_t kSpeedMedium = 1;
inline constexpr uint32_t kPullUp = 1;

// The ready-back read after the enable covers the delay that the manuals ask for before the first access.
FTTE_FOLDED void enable(const Pin& pin) {
  write(pin.port.clock_enable, 1);
  static_cast<void>(read(pin.port.clock_enable));
}

FTTE_FOLDED void set_alternate(const Pin& pin, uint32_t function) {
  enable(pin);
  const Register reg = pin.number < 8 ? pin.port.alternate_low : pin.port.alternate_high;
  write(Field{reg, 4 * (pin.number % 8), 4}, function);     // before the mode: no glitch of another function
  write(Field{pin.port.pull, 2 * pin.number, 2}, kPullUp);  // a line that nobody drives rests
  write(Field{pin.port.speed, 2 * pin.number, 2}, kSpeedMedium);
  write(Field{pin.port.mode, 2 * pin.number, 2}, kModeAlternate);
}

FTTE_FOLDED void set_output(const Pin& pin) {
  enable(pin);
  write(Field{pin.port.mode, 2 * pin.number, 2}, kModeOutput);
}

FTTE_FOLDED void drive(const Pin& pin, bool high) {
  write(pin.port.set_reset, 1U << (high ? pin.number : pin.number + 16));
}

}  // namespace hal::stm32
