// Runs the HAL's set-up as the firmware does, and leaves what it says of itself for the test to read.
#include "hal/hal.hpp"

namespace image {
__attribute__((section(".descriptor"), used)) extern const char kMagic[8] = {'F', 'T', 'T', 'E', 'I', 'M', 'G', '1'};
}

extern "C" {
volatile uint32_t reported_core_hz;
volatile uint32_t reported_source;

__attribute__((noinline, noreturn)) void test_done() {
  for (;;) {
  }
}

void firmware_main() {
  hal::init();
  reported_core_hz = hal::core_hz();
  reported_source = static_cast<uint32_t>(hal::clock_source());
  test_done();
}
}
