// CRC-32 over long stretches of flash, feeding the watchdog on the way.
#pragma once

#include <cstddef>
#include <cstdint>

#include "link/crc32.hpp"

void flash_crc32(link::Crc32& crc, const uint8_t* data, size_t size);
