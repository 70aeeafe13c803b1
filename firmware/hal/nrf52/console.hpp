// The console over UARTE0 (Product Specification, chapter UARTE): both directions by EasyDMA, so that no interrupt
// takes a byte, and a training step is interrupted by nothing.
//
// Receiving. The DMA fills a ring of blocks for ever: the end of a block starts the next one by a short, without the
// core. The buffer pointer is double: once a block has started, the interrupt sets the pointer of the one after it, and
// has a whole block's time for that, 22 ms at 115200 baud. The DMA says how far it is only at the end of a block; so
// TIMER2 counts the bytes, by PPI from RXDRDY, and a reader captures the count.
//
// The count says what has come off the line, "but potentially not yet transferred to Data RAM" (RXDRDY): a reader that
// finds it grown waits for longer than the transfer of a byte can take.
//
// A byte with a framing error is not stored, and the manual does not say whether it is counted. After any error count
// and DMA may differ, so the receiver is stopped and both begin anew; likewise where a block went by without its
// interrupt, as it does while a debugger holds the core. The bytes that this costs belong to a frame that is lost in
// any case.
#pragma once

#include <cstddef>
#include <cstdint>

#include "hal/nrf52/board.hpp"

namespace hal::nrf52 {

// The value of the BAUDRATE register in Nordic's own file; 0 for a rate that the part cannot do.
constexpr uint32_t baud_setting(uint32_t baud) {
  switch (baud) {
    case 9600:
      return 0x00275000;
    case 19200:
      return 0x004EA000;
    case 38400:
      return 0x009D0000;
    case 57600:
      return 0x00EB0000;
    case 115200:
      return 0x01D60000;
    case 230400:
      return 0x03B00000;
    case 250000:
      return 0x04000000;
    case 460800:
      return 0x07400000;
    case 921600:
      return 0x0F000000;
    case 1000000:
      return 0x10000000;
    default:
      return 0;
  }
}

class Console {
 public:
  static constexpr uint32_t kBlockBytes = 256;
  static constexpr uint32_t kBlocks = 8;
  static constexpr uint32_t kRingBytes = kBlockBytes * kBlocks;
#if defined(FTTE_CHUNK_BYTES)
  static_assert(kRingBytes >= 2 * FTTE_CHUNK_BYTES, "room for two chunks of the link");
#endif

  void start(const Board& board, uint32_t baud);
  bool pop(uint8_t& byte);                   // by the thread only; false when empty
  bool something_to_do();                    // whether pop() has a byte, or a receiver to start again
  void wake_on_byte(bool wake);              // whether a byte raises the interrupt; off but in idle()
  void send(const uint8_t* data, size_t n);  // returns when the last byte is on the line
  void interrupt();

  uint32_t overruns() const { return overruns_; }
  uint32_t line_errors() const { return line_errors_; }

 private:
  void start_receiver();
  void stop_receiver();
  void restart_receiver();
  bool missed_a_block(uint32_t now) const;
  bool intact(uint32_t now) const;  // whether the ring holds all bytes that are not taken yet
  void lose(uint32_t now);
  uint32_t received() const;  // bytes since the receiver's start, modulo 2^32
  bool look();

  alignas(4) uint8_t ring_[kRingBytes] = {};
  alignas(4) uint8_t outgoing_[64] = {};
  uint32_t head_ = 0;  // of the bytes received, what is known to be in the ring
  uint32_t tail_ = 0;  // of these, what has been taken
  volatile uint32_t blocks_started_ = 0;
  volatile bool stopped_ = false;  // by an error
  volatile uint32_t overruns_ = 0;
  volatile uint32_t line_errors_ = 0;
};

}  // namespace hal::nrf52
