// Runs a folder's cases when asked to, so that nothing is missed of what is printed before the host listens, and tells
// each in lines that test_custom_runner.py reads.
#include <cstring>

#include "check.hpp"
#include "hal/hal.hpp"
#include "src/phase.hpp"

namespace {

bool g_failed;

void put(const char* text) { hal::uart_write(reinterpret_cast<const uint8_t*>(text), std::strlen(text)); }

void put_number(uint32_t value, uint32_t base) {
  char digits[11];
  size_t at = sizeof digits;
  digits[--at] = '\0';
  do {
    digits[--at] = "0123456789abcdef"[value % base];
    value /= base;
  } while (value != 0);
  put(digits + at);
}

void put_place(const char* file, int line, const char* expected) {
  g_failed = true;
  put("expected ");
  put(file);
  put(":");
  put_number(static_cast<uint32_t>(line), 10);
  put(": ");
  put(expected);
}

void run_all() {
  put("\nbegin ");
  put_number(static_cast<uint32_t>(check::kCaseCount), 10);
  put(" cases\n");
  for (size_t i = 0; i < check::kCaseCount; ++i) {
    const check::Case& one = check::kCases[i];
    g_failed = false;
    put("case ");
    put(one.name);
    put("\n");
    hal::watchdog_feed();
    one.run();
    put(g_failed ? "failed\n" : "passed\n");
  }
  put("end\n");
}

}  // namespace

namespace check {

void failed(const char* file, int line, const char* expected) {
  put_place(file, line, expected);
  put("\n");
}

void failed(const char* file, int line, const char* expected, uint32_t found) {
  put_place(file, line, expected);
  put(", found 0x");
  put_number(found, 16);
  put("\n");
}

}  // namespace check

extern "C" [[noreturn]] void firmware_main() {
  hal::init();
  put("\nboot\n");
  for (;;) {
    uint8_t byte = 0;
    if (hal::uart_read(byte)) {
      enter(Phase::kLink);  // phases are told as by the firmware: an emulator that counts by them wants them there
      if (byte == 'r') run_all();
    } else {
      enter(Phase::kIdle);
      hal::idle();
    }
  }
}
