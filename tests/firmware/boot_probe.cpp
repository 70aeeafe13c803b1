// A firmware that echoes bytes and, after byte 1, takes one-letter commands: the HAL from outside.
#include <cstring>

#include "hal/common/stack.hpp"
#include "hal/hal.hpp"
#include "src/image.hpp"

namespace image {
#if defined(FTTE_HOST)
#define FTTE_PLACE __attribute__((used))
#else
#define FTTE_PLACE __attribute__((section(".descriptor"), used))
#endif
FTTE_PLACE extern const Descriptor kDescriptor = {{'F', 'T', 'T', 'E', 'I', 'M', 'G', '1'},
                                                  sizeof(Descriptor),
                                                  0,
                                                  0,
                                                  {},
                                                  FTTE_ENV,
                                                  FTTE_PLAN_ID,
                                                  0,
                                                  0,
                                                  0,
                                                  0,
                                                  0,
                                                  0,
                                                  0,
                                                  0,
                                                  0,
                                                  0,
                                                  0,
                                                  0,
                                                  0,
                                                  0,
                                                  0,
                                                  0};
}  // namespace image

namespace {

void put(const char* text) { hal::uart_write(reinterpret_cast<const uint8_t*>(text), std::strlen(text)); }

void put(const char* name, uint32_t value) {
  char digits[9] = {};
  for (uint32_t i = 0; i < 8; ++i) digits[i] = "0123456789abcdef"[(value >> (28 - 4 * i)) & 15];
  put(name);
  put("=");
  put(digits);
  put(" ");
}

void report_boot() {
  const hal::FaultRecord fault = hal::take_fault();
  put("boot ");
  put("cause", static_cast<uint32_t>(hal::reset_cause()));
  put("source", static_cast<uint32_t>(hal::clock_source()));
  put("hz", hal::core_hz());
  put("fault", fault.magic);
  put("pc", fault.pc);
  put("psr", fault.psr);
  put("address", fault.address);
  put("reserved", hal::stack_reserved());
  put("used", hal::stack_high_water());
  put("data", hal::data_partition_size());
  put("\n");
}

__attribute__((noinline)) uint32_t recurse(uint32_t depth) {
  volatile uint32_t frame[16];
  frame[depth % 16] = depth;
  return depth != 0 ? recurse(depth - 1) + frame[depth % 16] : 0;
}

__attribute__((noinline)) void busy() {
  for (volatile uint32_t i = 0; i < 100000; i = i + 1) {
  }
}

void report_stack() {
  put("before", hal::stack_high_water());
  hal::stack_repaint();
  put("fresh", hal::stack_high_water());
  recurse(4);
  put("four", hal::stack_high_water());
  recurse(8);
  put("eight", hal::stack_high_water());
  put("\n");
}

void report_time() {
  const uint64_t first = hal::cycles();
  busy();
  const uint64_t second = hal::cycles();
  busy();
  busy();
  const uint64_t third = hal::cycles();
  put("once", static_cast<uint32_t>(second - first));
  put("twice", static_cast<uint32_t>(third - second));
  put("\n");
}

void report_line() {
  put("overruns", hal::uart_overruns());
  put("errors", hal::uart_line_errors());
  put("\n");
}

void command(uint8_t letter) {
  switch (letter) {
    case 1:
      return hal::uart_write(&letter, 1);
    case 's':
      return report_stack();
    case 't':
      return report_time();
    case 'l':
      return report_line();
    case 'r':
      hal::reset();
    case 'u':
      return __builtin_trap();
    case 'w':
      for (;;) {  // until the watchdog bites
      }
    case 'o':
      put("deep", recurse(1U << 16));
      return;
    case 'b':
      put("boot\n");
      return report_boot();
    default:
      return;
  }
}

}  // namespace

extern "C" void firmware_main() {
  hal::init();
  report_boot();
  bool escaped = false;
  for (;;) {
    uint8_t byte;
    while (hal::uart_read(byte)) {
      if (escaped) {
        escaped = false;
        command(byte);
      } else if (byte == 1) {
        escaped = true;
      } else {
        hal::uart_write(&byte, 1);
      }
    }
    hal::idle();
  }
}
