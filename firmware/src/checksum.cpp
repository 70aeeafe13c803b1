#include "src/checksum.hpp"

#include "hal/hal.hpp"
#include "link/crc32.hpp"

uint32_t flash_crc32(const uint8_t* data, size_t size) {
  constexpr size_t kStretch = 4096;  // about 50 ms on the slowest core
  link::Crc32 crc;
  while (size > 0) {
    const size_t n = size < kStretch ? size : kStretch;
    crc.update(data, n);
    data += n;
    size -= n;
    hal::watchdog_feed();
  }
  return crc.value();
}
