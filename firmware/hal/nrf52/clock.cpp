#include "hal/nrf52/clock.hpp"

#include "hal/nrf52/registers.hpp"

namespace hal::nrf52 {
namespace {

static_assert(FTTE_CORE_HZ == kCoreHz, "the nRF52840 knows one frequency");

// A poll takes five cycles at least: 30 ms, where the data sheet lets a crystal take 0.4 ms, and 1 ms more to debounce.
constexpr uint32_t kCrystalPolls = 400000;

constexpr uint32_t kReloadKey = 0x6E524635;  // the only value that feeds: chapter WDT, RR
constexpr uint32_t kLowFrequencyHz = 32768;
constexpr uint32_t kTimeoutSeconds = 8;

}  // namespace

ClockSource start_clock() {
  write(reg::CLOCK_EVENTS_HFCLKSTARTED, 0);
  write(reg::CLOCK_TASKS_HFCLKSTART, 1);
  for (uint32_t poll = 0; poll < kCrystalPolls; ++poll) {
    if (read(reg::CLOCK_EVENTS_HFCLKSTARTED) != 0) return ClockSource::kCrystal;
  }
  return ClockSource::kResetDefault;
}

// The registers are locked once it runs: after a reset that did not stop it these writes do nothing, and the values
// that count are the same.
void start_watchdog() {
  write(reg::WDT_CRV, kTimeoutSeconds * kLowFrequencyHz - 1);
  write(reg::WDT_CONFIG, reg::WDT_CONFIG_SLEEP(1) | reg::WDT_CONFIG_HALT(0));
  write(reg::WDT_RREN, reg::WDT_RREN_RR0(1));
  write(reg::WDT_TASKS_START, 1);
  feed_watchdog();
}

void feed_watchdog() { write(reg::WDT_RR0, kReloadKey); }

}  // namespace hal::nrf52
