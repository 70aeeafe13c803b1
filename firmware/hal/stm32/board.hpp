// What differs between boards of one STM32 family.
#pragma once

#include <cstddef>
#include <cstdint>

#include "hal/stm32/gpio.hpp"
#include "hal/stm32/iwdg.hpp"

namespace hal::stm32 {

template <typename Usart>
struct Board {
  const char* env;  // the PlatformIO environment
  Usart usart;
  bool usart_on_apb2;
  uint32_t usart_function;  // alternate function number of both pins
  Pin transmit, receive;
  Pin marker;
};

// The part's own facts, the same on every board.
struct Part {
  Watchdog watchdog;
  Field freeze_watchdog;  // stop the watchdog while a debugger halts the core
  Register
      debug_control;  // its three lowest bits keep clocks on in the low-power modes: DBG_SLEEP, DBG_STOP, DBG_STANDBY
  Field clear_reset_flags;
  Field power_on, brown_out, pin, software, watchdog_reset, window_watchdog_reset;
  uint32_t unique_id;
};

constexpr bool same(const char* a, const char* b) {
  while (*a != 0 && *a == *b) ++a, ++b;
  return *a == *b;
}

template <typename Usart, size_t kCount>
constexpr size_t find_board(const Board<Usart> (&boards)[kCount], const char* env) {
  for (size_t i = 0; i < kCount; ++i) {
    if (same(boards[i].env, env)) return i;
  }
  return kCount;
}

}  // namespace hal::stm32
