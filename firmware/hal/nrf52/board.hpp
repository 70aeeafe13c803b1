// What differs between boards with an nRF52840, and its pins (Product Specification, chapter GPIO).
#pragma once

#include "hal/nrf52/registers.hpp"

namespace hal::nrf52 {

struct Pin {
  uint32_t port;  // 0 or 1
  uint32_t number;
};

struct Board {
  const char* env;  // the PlatformIO environment
  Pin transmit, receive;
  Pin marker;
};

inline constexpr uint32_t kDisconnected = 0xFFFFFFFF;

// The value of a PSEL register.
constexpr uint32_t selection(const Pin& pin) {
  return reg::UARTE0_PSEL_TXD_PIN(pin.number) | reg::UARTE0_PSEL_TXD_PORT(pin.port);
}

FTTE_FOLDED void drive(const Pin& pin, bool high) {
  const Register set = pin.port == 0 ? reg::P0_OUTSET : reg::P1_OUTSET;
  const Register clear = pin.port == 0 ? reg::P0_OUTCLR : reg::P1_OUTCLR;
  write(high ? set : clear, 1U << pin.number);
}

FTTE_FOLDED void set_output(const Pin& pin, bool high) {
  drive(pin, high);
  write(pin.port == 0 ? reg::P0_DIRSET : reg::P1_DIRSET, 1U << pin.number);
}

// With its pull-up: a line that nobody drives rests.
FTTE_FOLDED void set_input(const Pin& pin) {
  constexpr uint32_t kPullUp = 3;
  const Register first = pin.port == 0 ? reg::P0_PIN_CNF0 : reg::P1_PIN_CNF0;
  write(Register{first.address + 4 * pin.number},
        reg::P0_PIN_CNF0_DIR(0) | reg::P0_PIN_CNF0_INPUT(0) | reg::P0_PIN_CNF0_PULL(kPullUp));
}

}  // namespace hal::nrf52
