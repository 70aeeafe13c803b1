// The USART of the STM32F2 and F4: one status and one data register (RM0033 and RM0090, chapter USART).
#pragma once

#include "hal/stm32/usart.hpp"

namespace hal::stm32 {

struct UsartV1 {
  Register status, data;
  Field divisor;  // mantissa and fraction as one number
  Field enable, transmitter, receiver, receive_interrupt;
  Field not_empty, overrun, noise, framing, parity, transmit_empty, complete;
  Field clock_enable;
  Interrupt interrupt;
};

FTTE_FOLDED void start(const UsartV1& usart, uint32_t clock_hz, uint32_t baud) {
  write(usart.clock_enable, 1);
  static_cast<void>(read(usart.clock_enable));
  write(usart.divisor, baud_divisor(clock_hz, baud));
  write(usart.enable.reg, usart.enable(1) | usart.transmitter(1) | usart.receiver(1) | usart.receive_interrupt(1));
}

// Reading the status and then the data clears every receive flag (RM0090, USART_SR).
FTTE_FOLDED Received receive(const UsartV1& usart) {
  const uint32_t status = read(usart.status);
  const bool byte_valid = usart.not_empty.of(status) != 0;
  const bool lost = usart.overrun.of(status) != 0;
  const bool bad = (status & (usart.noise.mask() | usart.framing.mask() | usart.parity.mask())) != 0;
  if (!byte_valid && !lost && !bad) return {};
  return {byte_valid, lost, bad, static_cast<uint8_t>(read(usart.data))};
}

FTTE_FOLDED void send(const UsartV1& usart, uint8_t byte) {
  while (read(usart.transmit_empty) == 0) {
  }
  write(usart.data, byte);
}

}  // namespace hal::stm32
