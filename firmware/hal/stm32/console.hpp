// The console that hal.hpp promises, over either generation of USART. A family's hal.cpp defines `console` and
// instantiates this by including it in its one source file.
#pragma once

#include "hal/common/core.hpp"
#include "hal/common/ring.hpp"

namespace hal::stm32 {

inline constexpr uint32_t kRingBytes = 2048;
#if defined(FTTE_CHUNK_BYTES)
static_assert(kRingBytes >= 2 * FTTE_CHUNK_BYTES, "room for two chunks of the link");
#endif

template <typename Usart>
class Console {
 public:
  void start(const Usart& usart, uint32_t clock_hz, uint32_t baud) {
    stm32::start(usart, clock_hz, baud);
    core::nvic_enable(usart.interrupt);
  }

  // The receive interrupt; true when it took a byte.
  bool interrupt(const Usart& usart) {
    const Received got = stm32::receive(usart);
    if (got.lost) overruns_ = overruns_ + 1;
    if (got.bad_line) line_errors_ = line_errors_ + 1;
    if (got.byte_valid && !ring_.push(got.byte)) overruns_ = overruns_ + 1;
    return got.byte_valid;
  }

  bool empty() const { return ring_.empty(); }
  bool pop(uint8_t& byte) { return ring_.pop(byte); }
  uint32_t overruns() const { return overruns_; }
  uint32_t line_errors() const { return line_errors_; }

 private:
  Ring<kRingBytes> ring_;
  volatile uint32_t overruns_ = 0;
  volatile uint32_t line_errors_ = 0;
};

}  // namespace hal::stm32
