// The board that is a Linux process: the same firmware, with the process's clock as cycle counter (1 GHz).
#include "hal/hal.hpp"

#include <time.h>

#include <cstring>

#include "hal/host/image.hpp"
#include "hal/host/process.hpp"

namespace hal {
namespace {

static_assert(FTTE_CORE_HZ == 1000000000, "the cycle counter counts nanoseconds");

constexpr int kTickMs = 100;

uint64_t g_start;
ResetCause g_reset_cause;
uint8_t g_buffer[4096];
size_t g_count, g_next;

uint64_t nanoseconds() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<uint64_t>(now.tv_sec) * 1000000000U + static_cast<uint64_t>(now.tv_nsec);
}

bool fill() {
  if (g_next < g_count) return true;
  g_next = 0;
  g_count = host::serial_read(g_buffer, sizeof g_buffer);
  return g_count > 0;
}

}  // namespace

void init() {
  g_start = nanoseconds();
  g_reset_cause = host::survivors().reset_cause;
  host::survivors().reset_cause = ResetCause::kPowerOn;
}

uint32_t core_hz() { return FTTE_CORE_HZ; }
ClockSource clock_source() { return ClockSource::kCrystal; }
ResetCause reset_cause() { return g_reset_cause; }

FaultRecord take_fault() {
  const FaultRecord record = host::survivors().fault;
  host::survivors().fault = {};
  return record;
}

// A process has no factory-programmed id; all of them are this one.
void device_uid(uint8_t out[12]) { std::memcpy(out, "host process", 12); }

bool uart_read(uint8_t& byte) {
  if (!fill()) return false;
  byte = g_buffer[g_next++];
  return true;
}

void uart_write(const uint8_t* data, size_t n) { host::serial_write(data, n); }
void uart_flush() {}
uint32_t uart_overruns() { return 0; }
uint32_t uart_line_errors() { return 0; }

void idle() {
  if (g_next == g_count) host::serial_wait(kTickMs);
}

uint64_t cycles() { return nanoseconds() - g_start; }
void watchdog_feed() {}
void marker_pin(bool) {}
void reset() { host::restart(ResetCause::kSoftware); }

const uint8_t* image_base() { return host::image(); }
const uint8_t* data_partition_base() { return host::data_base(); }
uint32_t data_partition_size() { return host::data_size(); }

}  // namespace hal
