#include "src/checksum.hpp"

#include "hal/hal.hpp"

void flash_crc32(link::Crc32& crc, const uint8_t* data, size_t size) {
  constexpr size_t kStretch = 4096;  // about 20 ms on the slowest core
  while (size > 0) {
    const size_t n = size < kStretch ? size : kStretch;
    crc.update(data, n);
    data += n;
    size -= n;
    hal::watchdog_feed();
  }
}
