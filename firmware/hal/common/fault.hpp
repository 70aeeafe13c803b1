// Faults: recorded in memory that a reset leaves alone, then the core is reset. And loads that may fault.
#pragma once

#include <cstdint>

#include "hal/hal.hpp"

namespace hal {

// Loads the word at `address`. False, with `value` unchanged, when the bus answers with an error: the fault handler
// knows this one load and returns from it. For what a part has and an emulator or an older part may not.
bool probe(uint32_t address, uint32_t& value);

// Why the firmware itself asked for the reset that led to this boot: kSoftware, kFault, or kUnknown when it did not.
// The first call clears the mark.
ResetCause take_reset_mark();

// What hal::reset() and the fault handler do in the end.
[[noreturn]] void system_reset(ResetCause mark);

}  // namespace hal
