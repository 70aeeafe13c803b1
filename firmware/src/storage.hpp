// The memory that training uses. A board trains one client, so each part exists once, at an address fixed by the
// linker.
#pragma once

#include <cstdint>

namespace storage {

extern uint8_t params[];  // what trains and travels; program::kParamsBytes
extern uint8_t arena[];   // activations and gradients of one step; program::kArenaBytes

}  // namespace storage
