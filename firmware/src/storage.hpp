// The memory that training uses. A board trains one client, so each part exists once, at an address fixed by the
// linker.
#pragma once

#include <cstdint>

namespace storage {

extern uint8_t params[];  // what trains and travels; program::kParamsBytes
extern uint8_t arena[];   // activations and gradients of one step; program::kArenaBytes

// A federated client's state. Programs without one have a byte of each, which no code refers to, so no memory.
extern uint8_t base[];    // what was sent down; program::kBaseBytes
extern uint8_t errors[];  // what updates have left unsent; program::kErrorBytes

}  // namespace storage
