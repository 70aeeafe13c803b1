#include "hal/common/stack.hpp"

#include "hal/common/core.hpp"
#include "hal/common/linker.hpp"

namespace hal {

uint32_t stack_reserved() { return symbol(__stack_top) - symbol(__stack_limit); }

uint32_t stack_high_water() {
  const volatile uint32_t* word = __stack_limit;
  while (word < __stack_top && *word == kStackPaint) ++word;
  return symbol(__stack_top) - symbol(const_cast<const uint32_t*>(word));
}

// Interrupts stay off: a handler's frame would lie where the paint goes. This function calls nothing, so nothing of
// its own lies below the stack pointer either.
__attribute__((noinline)) void stack_repaint() {
  const core::IrqLock lock;
  const uint32_t end = core::stack_pointer();
  for (uint32_t address = symbol(__stack_limit); address < end; address += 4) word_at(address) = kStackPaint;
}

}  // namespace hal
