// Time from SysTick, and from DWT where there is one: a cycle counter that is only read, and a tick that interrupts
// only inside idle().
#pragma once

#include <cstdint>

namespace hal::systick {

// Starts SysTick at the core clock over its full 24 bits, and DWT's cycle counter where there is one that counts.
// Without, SysTick counts cycles too: on QEMU, whose Cortex-M3 has no DWT and whose Cortex-M4 has one that stands
// still.
void time_init();

// Sleeps until the receiver has something or the tick fires. `received` is asked with interrupts off, so that a byte
// that arrives between the question and the sleep wakes the core at once.
void sleep_until(bool (*received)());

// For a receive handler: stops SysTick and lets it go on at once. On a board that costs it a few cycles, no more.
// QEMU's L4 USART does not tell the emulator's main loop that its byte was taken; a timer that starts does, so the next
// byte comes at once instead of at some later event.
void tick_nudge();

}  // namespace hal::systick
