// The linker script's symbols. Only their addresses mean anything; the *_size symbols are absolute values.
#pragma once

#include <cstdint>

extern "C" {
extern uint32_t __data_load[], __data_start[], __data_end[], __bss_start[], __bss_end[];
extern uint32_t __stack_limit[], __stack_top[];
extern uint8_t __ram_base[], __ram_size[], __flash_base[], __data_partition_start[], __data_partition_size[];
}

namespace hal {

template <typename T>
uint32_t symbol(const T* address) {
  return static_cast<uint32_t>(reinterpret_cast<uintptr_t>(address));
}

}  // namespace hal
