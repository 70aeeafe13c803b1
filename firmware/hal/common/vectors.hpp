// The vector table, built at compile time: every external interrupt that is not named is a fault.
#pragma once

#include <cstdint>

#include "hal/common/linker.hpp"
#include "hal/common/mmio.hpp"

extern "C" {
void Reset_Handler();
void fault_entry();        // every fault exception, and every interrupt that nobody asked for
void systick_interrupt();  // the tick of idle(); a fault on parts without SysTick
}

namespace hal {

using Handler = void (*)();

template <uint32_t kInterrupts>
struct VectorTable {
  const uint32_t* stack_top;
  Handler core[15];  // exceptions 1 to 15; the reserved ones point to the fault handler too, which harms nobody
  Handler irq[kInterrupts];
};

struct Vector {
  Interrupt interrupt;
  Handler handler;
};

template <uint32_t kInterrupts, uint32_t kNamed>
constexpr VectorTable<kInterrupts> make_vectors(Handler systick, const Vector (&named)[kNamed]) {
  VectorTable<kInterrupts> table{};
  table.stack_top = __stack_top;
  for (Handler& handler : table.core) handler = fault_entry;
  table.core[0] = Reset_Handler;
  table.core[14] = systick;
  for (Handler& handler : table.irq) handler = fault_entry;
  for (const Vector& vector : named) table.irq[vector.interrupt.number] = vector.handler;
  return table;
}

}  // namespace hal

// Place the table with this: the linker script puts the section at the flash base and keeps it.
#define FTTE_VECTOR_SECTION __attribute__((section(".vectors"), used))
