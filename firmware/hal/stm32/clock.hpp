// What a family's clock code reports.
#pragma once

#include <cstdint>

#include "hal/hal.hpp"

namespace hal::stm32 {

struct Clocks {
  uint32_t core_hz;
  uint32_t apb1_hz;
  uint32_t apb2_hz;
  ClockSource source;
};

// From the reset default to the rated clock, or as far as the hardware lets it. Ends whatever the ready bits do.
Clocks start_clocks();

}  // namespace hal::stm32
