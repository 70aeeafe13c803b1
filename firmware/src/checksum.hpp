// CRC-32 over long stretches of flash, feeding the watchdog on the way.
#pragma once

#include <cstddef>
#include <cstdint>

uint32_t flash_crc32(const uint8_t* data, size_t size);
