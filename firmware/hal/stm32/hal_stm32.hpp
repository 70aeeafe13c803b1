// hal.hpp for the STM32 families. Included once, by a family's hal.cpp, behind `kBoard` and `kPart` of namespace
// hal::stm32 and the USART generation that they use.
#pragma once

#include "hal/common/core.hpp"
#include "hal/common/fault.hpp"
#include "hal/hal.hpp"
#include "hal/stm32/board.hpp"
#include "hal/stm32/clock.hpp"
#include "hal/stm32/console.hpp"
#include "hal/systick/time.hpp"

namespace hal {
namespace {

stm32::Console<decltype(stm32::kBoard.usart)> g_console;
stm32::Clocks g_clocks;
ResetCause g_reset_cause;

// The firmware's own mark first: it says more than the flag of a software reset, and an emulator keeps no flags.
ResetCause find_reset_cause() {
  const uint32_t flags = read(stm32::kPart.clear_reset_flags.reg);
  write(stm32::kPart.clear_reset_flags, 1);
  write(stm32::kPart.clear_reset_flags, 0);  // on the F2 and F4 hardware does that itself
  const ResetCause mark = take_reset_mark();
  if (mark != ResetCause::kUnknown) return mark;
  if (stm32::kPart.watchdog_reset.of(flags) != 0) return ResetCause::kWatchdog;
  if (stm32::kPart.window_watchdog_reset.of(flags) != 0) return ResetCause::kWatchdog;
  if (stm32::kPart.software.of(flags) != 0) return ResetCause::kSoftware;
  if (stm32::kPart.power_on.of(flags) != 0 || stm32::kPart.brown_out.of(flags) != 0) return ResetCause::kPowerOn;
  return stm32::kPart.pin.of(flags) != 0 ? ResetCause::kPin : ResetCause::kUnknown;  // every reset pulls the pin
}

bool g_has_debug_unit;  // an emulator may have none

void freeze_watchdog_in_debug() {
  uint32_t value = 0;
  g_has_debug_unit = probe(stm32::kPart.freeze_watchdog.reg.address, value);
  if (g_has_debug_unit) write(stm32::kPart.freeze_watchdog, 1);
}

// pyOCD sets the clocks' bits when it connects, and nothing but the power clears them: sleep would go on costing what a
// debugger's does, in what a meter reads too.
void sleep_as_without_debugger() {
  if (!g_has_debug_unit || read(core::DCB_DHCSR_C_DEBUGEN) != 0) return;
  const uint32_t control = read(stm32::kPart.debug_control);
  if ((control & 7U) != 0) write(stm32::kPart.debug_control, control & ~7U);
}

bool received() { return !g_console.empty(); }

}  // namespace

void init() {
  g_reset_cause = find_reset_cause();
  g_clocks = stm32::start_clocks();
  systick::time_init();
  stm32::set_output(stm32::kBoard.marker);
  stm32::set_alternate(stm32::kBoard.transmit, stm32::kBoard.usart_function);
  stm32::set_alternate(stm32::kBoard.receive, stm32::kBoard.usart_function);
  const uint32_t clock_hz = stm32::kBoard.usart_on_apb2 ? g_clocks.apb2_hz : g_clocks.apb1_hz;
  g_console.start(stm32::kBoard.usart, clock_hz, FTTE_BAUD);
  freeze_watchdog_in_debug();
  stm32::start(stm32::kPart.watchdog);
}

uint32_t core_hz() { return g_clocks.core_hz; }
ClockSource clock_source() { return g_clocks.source; }
ResetCause reset_cause() { return g_reset_cause; }

void device_uid(uint8_t out[12]) {
  for (uint32_t i = 0; i < 3; ++i) {
    uint32_t word = 0;
    probe(stm32::kPart.unique_id + 4 * i, word);  // system memory: an emulator may have none
    for (uint32_t byte = 0; byte < 4; ++byte) out[4 * i + byte] = static_cast<uint8_t>(word >> (8 * byte));
  }
}

bool uart_read(uint8_t& byte) { return g_console.pop(byte); }

void uart_write(const uint8_t* data, size_t n) {
  for (size_t i = 0; i < n; ++i) stm32::send(stm32::kBoard.usart, data[i]);
}

void uart_flush() {
  while (read(stm32::kBoard.usart.complete) == 0) {
  }
}

uint32_t uart_overruns() { return g_console.overruns(); }
uint32_t uart_line_errors() { return g_console.line_errors(); }

void idle() {
  watchdog_feed();
  sleep_as_without_debugger();
  systick::sleep_until(received);
  watchdog_feed();
}

void watchdog_feed() {
  stm32::feed(stm32::kPart.watchdog);
  cycles();  // whoever feeds often enough for the watchdog also does for the counter
}

void marker_pin(bool high) { stm32::drive(stm32::kBoard.marker, high); }

}  // namespace hal

extern "C" void usart_interrupt() {
  if (hal::g_console.interrupt(hal::stm32::kBoard.usart)) hal::systick::tick_nudge();
}
