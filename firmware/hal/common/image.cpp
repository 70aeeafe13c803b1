// Where things lie in flash: the linker script says.
#include "hal/common/fault.hpp"
#include "hal/common/linker.hpp"
#include "hal/hal.hpp"

namespace hal {

const uint8_t* image_base() { return __flash_base; }
const uint8_t* data_partition_base() { return __data_partition_start; }
uint32_t data_partition_size() { return symbol(__data_partition_size); }

void reset() {
  uart_flush();
  system_reset(ResetCause::kSoftware);
}

}  // namespace hal
