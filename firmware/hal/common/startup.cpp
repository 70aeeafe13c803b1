// From the reset vector to firmware_main(). There are no static constructors to run: the linker script refuses them.
#include "hal/common/core.hpp"
#include "hal/common/linker.hpp"
#include "hal/common/stack.hpp"
#include "hal/common/vectors.hpp"
#include "hal/hal.hpp"

namespace {

// The loops below must stay loops: turned into memset and memcpy, they would use the stack that is being painted.
#define FTTE_PLAIN_LOOPS __attribute__((optimize("no-tree-loop-distribute-patterns")))

// Painted by volatile stores of a leaf function: nothing of it lies below the stack pointer.
FTTE_PLAIN_LOOPS inline __attribute__((always_inline)) void paint_stack() {
  const uint32_t end = hal::core::stack_pointer();
  for (uint32_t address = hal::symbol(__stack_limit); address < end; address += 4) {
    hal::word_at(address) = hal::kStackPaint;
  }
}

FTTE_PLAIN_LOOPS inline __attribute__((always_inline)) void set_up_memory() {
  const uint32_t* from = __data_load;
  for (uint32_t* to = __data_start; to < __data_end; ++to) *to = *from++;
  for (uint32_t* to = __bss_start; to < __bss_end; ++to) *to = 0;
}

void set_up_core(const uint32_t* vectors) {
#if !defined(__ARM_ARCH_6M__)
  hal::write(hal::core::SCB_VTOR, hal::symbol(vectors));
  hal::write(hal::core::SCB_SHCSR_MEMFAULTENA, 1);
  hal::write(hal::core::SCB_SHCSR_BUSFAULTENA, 1);
  hal::write(hal::core::SCB_SHCSR_USGFAULTENA, 1);
#else
  static_cast<void>(vectors);  // ARMv6-M without the vector table offset: the table is where the core looks
#endif
#if defined(__ARM_FP)
  hal::write(hal::core::SCB_CPACR_CP10_CP11, 0xF);  // before any floating-point instruction; PM0214, chapter FPU
#endif
  hal::core::data_barrier();
  hal::core::instruction_barrier();
}

}  // namespace

extern "C" __attribute__((used, noreturn, noinline)) FTTE_PLAIN_LOOPS void reset_in_cpp() {
  paint_stack();
  set_up_core(reinterpret_cast<const uint32_t*>(__flash_base));
  set_up_memory();
  firmware_main();
}

// Sets the stack pointer itself: a debugger or a boot loader that jumps here may have left another one. Interrupts
// are off after a reset only in the sense that none is enabled; they are turned on here for the same reason.
extern "C" __attribute__((naked, used)) void Reset_Handler() {
  __asm volatile(
      "  ldr   r0, =__stack_top\n"
      "  mov   sp, r0\n"
      "  cpsie i\n"
      "  bl    reset_in_cpp\n"
      "  .ltorg\n");
}
