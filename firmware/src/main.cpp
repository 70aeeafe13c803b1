// The command loop: bytes in, requests executed, replies out, asleep in between.
#include "hal/hal.hpp"
#include "link/session.hpp"
#include "src/commands.hpp"
#include "src/phase.hpp"

namespace {

void transmit(void*, const uint8_t* data, size_t size) { hal::uart_write(data, size); }

}  // namespace

extern "C" [[noreturn]] void firmware_main() {
  hal::init();
  // Set up here, not before: nothing runs constructors of globals.
  static link::Session session({transmit, nullptr}, {commands::execute, &session});
  commands::log_boot(session);
  session.announce();
  for (;;) {
    uint8_t byte = 0;
    if (!hal::uart_read(byte)) {
      enter(Phase::kIdle);
      hal::idle();
      continue;
    }
    enter(Phase::kLink);
    session.feed(byte);
    if (session.reset_requested()) {
      hal::uart_flush();
      hal::reset();
    }
  }
}
