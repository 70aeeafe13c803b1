// The few instructions that C++ has no words for, and the interrupt controller.
#pragma once

#include <cstdint>

#include "hal/common/core_registers.hpp"

namespace hal::core {

inline void irq_disable() { __asm volatile("cpsid i" ::: "memory"); }
inline void irq_enable() { __asm volatile("cpsie i\n isb" ::: "memory"); }

// With DBG_SLEEP set, which debuggers leave behind, an STM32 may execute wrongly what stands behind a WFI, depending on
// its address (ES0182 2.1.3, "Debugging Sleep/Stop mode with WFE/WFI entry"): so it has one that is known to be good,
// and nothing behind it that was fetched before.
inline void wait_for_interrupt() { __asm volatile("dsb\n .balign 16\n wfi\n isb\n nop\n nop\n nop" ::: "memory"); }

inline void data_barrier() { __asm volatile("dsb" ::: "memory"); }
inline void instruction_barrier() { __asm volatile("isb" ::: "memory"); }

inline uint32_t stack_pointer() {
  uint32_t sp;
  __asm volatile("mov %0, sp" : "=r"(sp));
  return sp;
}

// Keeps interrupts off while it lives, and restores what was before.
class IrqLock {
 public:
  IrqLock() {
    __asm volatile("mrs %0, primask" : "=r"(primask_));
    irq_disable();
  }
  ~IrqLock() { __asm volatile("msr primask, %0\n isb" ::"r"(primask_) : "memory"); }
  IrqLock(const IrqLock&) = delete;
  IrqLock& operator=(const IrqLock&) = delete;

 private:
  uint32_t primask_;
};

inline void nvic_enable(Interrupt irq) {
  write(Register{NVIC_ISER0.address + 4 * (irq.number / 32)}, 1U << (irq.number % 32));
}

inline void nvic_clear_pending(Interrupt irq) {
  write(Register{NVIC_ICPR0.address + 4 * (irq.number / 32)}, 1U << (irq.number % 32));
}

}  // namespace hal::core
