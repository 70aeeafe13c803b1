// The cycle counter of the debug unit (ARMv7-M Architecture Reference Manual, C1.8).
#pragma once

#include "hal/common/core.hpp"
#include "hal/common/fault.hpp"

namespace hal::core {

// Starts it at zero. False where there is none that counts. Asked before it is used: the unit is optional, and where a
// debugger may read it an emulator may fault.
inline bool start_dwt() {
  write(DCB_DEMCR_TRCENA, 1);
  uint32_t control = 0;
  if (!probe(DWT_CTRL.address, control) || DWT_CTRL_NOCYCCNT.of(control) != 0) return false;
  write(DWT_CYCCNT, 0);
  write(DWT_CTRL_CYCCNTENA, 1);
  const uint32_t before = read(DWT_CYCCNT);
  instruction_barrier();
  return read(DWT_CYCCNT) != before;
}

// Whether it had stood still, as a debugger that leaves has it: pyOCD writes 0 to DEMCR. It counts again then.
inline bool restart_dwt() {
  if (read(DCB_DEMCR_TRCENA) != 0) return false;
  write(DCB_DEMCR_TRCENA, 1);
  write(DWT_CTRL_CYCCNTENA, 1);
  return true;
}

}  // namespace hal::core
