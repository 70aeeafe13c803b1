// What the two generations of USART share: the divisor, and the console built on either.
#pragma once

#include <cstdint>

#include "hal/common/mmio.hpp"

namespace hal::stm32 {

// Oversampling by 16: the divisor is the peripheral clock over the baud rate, in sixteenths of a bit on the older
// generation and in whole clocks on the newer, which is the same number; rounded to the nearest. At least 16.
constexpr uint32_t baud_divisor(uint32_t clock_hz, uint32_t baud) {
  const uint32_t divisor = (clock_hz + baud / 2) / baud;
  return divisor < 16 ? 16 : divisor;
}

// What one poll of the receiver found.
struct Received {
  bool byte_valid;
  bool lost;      // at least one byte was overrun
  bool bad_line;  // framing, noise or parity error: the byte is delivered all the same, the frame's CRC judges it
  uint8_t byte;
};

}  // namespace hal::stm32
