// The USART of the STM32L4: flags and their clearing apart, a data register each way (RM0351, chapter USART).
#pragma once

#include "hal/stm32/usart.hpp"

namespace hal::stm32 {

struct UsartV2 {
  Register status, clear, receive_data, transmit_data;
  Field divisor;
  Field enable, transmitter, receiver, receive_interrupt;
  Field not_empty, overrun, noise, framing, parity, transmit_empty, complete;
  Field clear_overrun, clear_noise, clear_framing, clear_parity;
  Field clock_enable;
  Interrupt interrupt;
};

FTTE_FOLDED void start(const UsartV2& usart, uint32_t clock_hz, uint32_t baud) {
  write(usart.clock_enable, 1);
  static_cast<void>(read(usart.clock_enable));
  write(usart.divisor, baud_divisor(clock_hz, baud));
  write(usart.enable.reg, usart.enable(1) | usart.transmitter(1) | usart.receiver(1) | usart.receive_interrupt(1));
}

// Unlike the older generation, an overrun raises the interrupt until it is cleared by hand.
FTTE_FOLDED Received receive(const UsartV2& usart) {
  const uint32_t status = read(usart.status);
  const bool byte_valid = usart.not_empty.of(status) != 0;
  const bool lost = usart.overrun.of(status) != 0;
  const bool bad = (status & (usart.noise.mask() | usart.framing.mask() | usart.parity.mask())) != 0;
  if (lost || bad) {
    write(usart.clear, usart.clear_overrun(1) | usart.clear_noise(1) | usart.clear_framing(1) | usart.clear_parity(1));
  }
  if (!byte_valid) return {false, lost, bad, 0};
  return {true, lost, bad, static_cast<uint8_t>(read(usart.receive_data))};
}

FTTE_FOLDED void send(const UsartV2& usart, uint8_t byte) {
  while (read(usart.transmit_empty) == 0) {
  }
  write(usart.transmit_data, byte);
}

}  // namespace hal::stm32
