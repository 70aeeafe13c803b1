// The one header behind which every SoC family hides. The firmware above it is the same on every board.
//
// There are no periodic interrupts while a phase is being counted: time comes from free-running counters that are
// read, and the tick interrupt runs only inside idle(). So a training step executes the same instructions each time.
#pragma once

#include <cstddef>
#include <cstdint>

namespace hal {

enum class ResetCause : uint8_t { kUnknown = 0, kPowerOn = 1, kPin = 2, kSoftware = 3, kWatchdog = 4, kFault = 5 };

enum class ClockSource : uint8_t { kResetDefault = 0, kInternalPll = 1, kCrystalPll = 2, kCrystal = 3 };

// What the fault handler left in .noinit before it reset the core; `magic` is zero when there was none.
struct FaultRecord {
  uint32_t magic;  // kFaultMagic when valid
  uint32_t pc;
  uint32_t lr;
  uint32_t psr;
  uint32_t cfsr;  // 0 on cores without one (Cortex-M0)
  uint32_t address;
};
inline constexpr uint32_t kFaultMagic = 0xFA017FA0U;

// Clock to the rated frequency (or a fallback), console UART at the board's baud rate, cycle counter, marker pin,
// watchdog. Called once from firmware_main(), after .data and .bss are set up.
void init();

uint32_t core_hz();  // the frequency that init() really reached, in Hz
ClockSource clock_source();
ResetCause reset_cause();          // of the reset that led to this boot
FaultRecord take_fault();          // returns the record of the last fault and clears it
void device_uid(uint8_t out[12]);  // factory-programmed id, zero-padded

bool uart_read(uint8_t& byte);                   // false when nothing is waiting
void uart_write(const uint8_t* data, size_t n);  // blocks until the last byte is in the transmitter
void uart_flush();                               // blocks until the line is idle: before a reset
uint32_t uart_overruns();                        // bytes lost in hardware or to a full ring, since boot
uint32_t uart_line_errors();                     // bytes received with a framing, noise or parity error, since boot

void idle();                 // sleeps until a byte arrives or the tick asks for the watchdog to be fed; feeds it
uint64_t cycles();           // core cycles since init(); call at least every 50 ms on cores without a 32-bit counter
void watchdog_feed();        // the kernels' callers feed between layers and samples
void marker_pin(bool high);  // phase marker for a current meter
[[noreturn]] void reset();   // system reset

const uint8_t* image_base();           // where the image starts in flash; its descriptor lies 0x200 behind
const uint8_t* data_partition_base();  // a client's shard, flashed apart from the image
uint32_t data_partition_size();

}  // namespace hal

// What the HAL calls once memory is set up and the stack is painted; it calls hal::init() itself. Never returns.
extern "C" [[noreturn]] void firmware_main();
