#include "hal/nrf52/console.hpp"

#include "hal/common/core.hpp"
#include "hal/common/linker.hpp"

namespace hal::nrf52 {
namespace {

constexpr uint32_t kUarteEnabled = 8;
constexpr uint32_t kCounterMode = 1;
constexpr uint32_t kBits32 = 3;

// A microsecond. The transfer of a byte to RAM is one access on the bus, a few cycles even where the core contends.
constexpr uint32_t kTransferCycles = 64;

// The receiver stops within five bytes' time (chapter UARTE, Reception): 0.5 ms at 115200 baud. A poll takes five
// cycles at least; so 60 ms, enough down to 1200 baud.
constexpr uint32_t kStopPolls = 800000;

uint32_t address_of(const void* pointer) { return static_cast<uint32_t>(reinterpret_cast<uintptr_t>(pointer)); }

// EasyDMA reaches nothing but Data RAM: a constant in flash would be sent as something else, or fault.
bool in_ram(const uint8_t* data) { return address_of(data) - symbol(__ram_base) < symbol(__ram_size); }

bool wait_for_event(Register event) {
  for (uint32_t poll = 0; poll < kStopPolls; ++poll) {
    if (read(event) != 0) return true;
  }
  return false;
}

// The read-back keeps the interrupt from being taken again for an event that the write buffer still holds (chapter
// Peripheral interface, Interrupt clearing).
void clear(Register event) {
  write(event, 0);
  static_cast<void>(read(event));
}

void wait_for_transfer() {
  for (uint32_t i = 0; i < kTransferCycles; ++i) __asm volatile("nop");
}

void start_byte_counter() {
  write(reg::TIMER2_TASKS_STOP, 1);
  write(reg::TIMER2_MODE, kCounterMode);
  write(reg::TIMER2_BITMODE, kBits32);
  write(reg::TIMER2_TASKS_START, 1);
  write(reg::PPI_CH0_EEP, reg::UARTE0_EVENTS_RXDRDY.address);
  write(reg::PPI_CH0_TEP, reg::TIMER2_TASKS_COUNT.address);
  write(reg::PPI_CHENSET, reg::PPI_CHENSET_CH0(1));
}

void transmit(const uint8_t* data, uint32_t n) {
  write(reg::UARTE0_EVENTS_ENDTX, 0);
  write(reg::UARTE0_TXD_PTR, address_of(data));
  write(reg::UARTE0_TXD_MAXCNT, n);
  core::data_barrier();  // what is sent is in RAM before the DMA reads it
  write(reg::UARTE0_TASKS_STARTTX, 1);
  while (read(reg::UARTE0_EVENTS_ENDTX) == 0) {
  }
}

}  // namespace

void Console::start(const Board& board, uint32_t baud) {
  set_output(board.transmit, true);  // the line's rest level before the UARTE takes the pin
  set_input(board.receive);
  write(reg::UARTE0_PSEL_TXD, selection(board.transmit));
  write(reg::UARTE0_PSEL_RXD, selection(board.receive));
  write(reg::UARTE0_PSEL_RTS, kDisconnected);
  write(reg::UARTE0_PSEL_CTS, kDisconnected);
  write(reg::UARTE0_BAUDRATE, baud_setting(baud));
  write(reg::UARTE0_CONFIG, 0);  // no parity, one stop bit, no flow control
  write(reg::UARTE0_ENABLE_ENABLE, kUarteEnabled);
  start_byte_counter();
  start_receiver();
  core::nvic_enable(reg::UARTE0_UART0_IRQ);
}

void Console::start_receiver() {
  head_ = tail_ = 0;
  blocks_started_ = 0;
  stopped_ = false;
  write(reg::TIMER2_TASKS_CLEAR, 1);
  write(reg::UARTE0_RXD_PTR, address_of(ring_));
  write(reg::UARTE0_RXD_MAXCNT, kBlockBytes);
  clear(reg::UARTE0_EVENTS_RXDRDY);
  clear(reg::UARTE0_EVENTS_ERROR);
  clear(reg::UARTE0_EVENTS_RXSTARTED);
  write(reg::UARTE0_SHORTS, reg::UARTE0_SHORTS_ENDRX_STARTRX(1));
  write(reg::UARTE0_INTENSET, reg::UARTE0_INTENSET_RXSTARTED(1) | reg::UARTE0_INTENSET_ERROR(1));
  write(reg::UARTE0_TASKS_STARTRX, 1);
}

void Console::stop_receiver() {
  stopped_ = true;
  write(reg::UARTE0_SHORTS, 0);
  write(reg::UARTE0_EVENTS_RXTO, 0);
  write(reg::UARTE0_TASKS_STOPRX, 1);
}

// By the thread, which owns the ring's ends; the receiver has been asked to stop. What its FIFO still holds
// would come out at the next start, so it is flushed into the ring, where it is overwritten.
void Console::restart_receiver() {
  wait_for_event(reg::UARTE0_EVENTS_RXTO);
  write(reg::UARTE0_RXD_PTR, address_of(ring_));
  write(reg::UARTE0_RXD_MAXCNT, kBlockBytes);
  clear(reg::UARTE0_EVENTS_ENDRX);
  write(reg::UARTE0_TASKS_FLUSHRX, 1);
  wait_for_event(reg::UARTE0_EVENTS_ENDRX);
  start_receiver();
}

uint32_t Console::received() const {
  write(reg::TIMER2_TASKS_CAPTURE0, 1);
  return read(reg::TIMER2_CC0);
}

bool Console::something_to_do() { return tail_ != head_ || stopped_ || received() != tail_; }

void Console::wake_on_byte(bool wake) {
  if (!wake) {
    write(reg::UARTE0_INTENCLR, reg::UARTE0_INTENCLR_RXDRDY(1));
    return;
  }
  clear(reg::UARTE0_EVENTS_RXDRDY);  // whoever sleeps asks something_to_do() behind this, so that no byte is missed
  write(reg::UARTE0_INTENSET, reg::UARTE0_INTENSET_RXDRDY(1));
}

// Block n starts with byte n times its length: fewer interrupts than that, the one that waits included, and the DMA was
// given one pointer twice. Modulo 2^24, as the count of bytes wraps.
bool Console::missed_a_block(uint32_t now) const {
  const core::IrqLock lock;
  const uint32_t started = blocks_started_ + read(reg::UARTE0_EVENTS_RXSTARTED);
  return static_cast<int32_t>((now / kBlockBytes + 1 - started) << 8) > 0;
}

bool Console::intact(uint32_t now) const { return now - tail_ <= kRingBytes && !missed_a_block(now); }

void Console::lose(uint32_t now) {
  overruns_ = overruns_ + (now - tail_);
  stop_receiver();
  restart_receiver();
}

// Learns of new bytes; false when there are none, or when they have overwritten each other.
bool Console::look() {
  if (stopped_) restart_receiver();
  const uint32_t now = received();
  if (now == tail_) return false;
  wait_for_transfer();
  if (!intact(now)) {
    lose(now);
    return false;
  }
  head_ = now;
  return true;
}

// The byte is taken first and judged then: the DMA may have come round since the last look. Where the last byte of a
// block is counted but not stored, the next block's start is missing for that moment only.
bool Console::pop(uint8_t& byte) {
  if (tail_ == head_ && !look()) return false;
  byte = static_cast<volatile uint8_t&>(ring_[tail_ % kRingBytes]);  // the DMA's store, not the compiler's
  const uint32_t now = received();
  if (!intact(now)) {
    wait_for_transfer();
    if (!intact(now)) {
      lose(now);
      return false;
    }
  }
  ++tail_;
  return true;
}

void Console::send(const uint8_t* data, size_t n) {
  while (n != 0) {
    size_t part = n;
    if (in_ram(data)) {
      if (part > reg::UARTE0_TXD_MAXCNT_MAXCNT.max()) part = reg::UARTE0_TXD_MAXCNT_MAXCNT.max();
      transmit(data, static_cast<uint32_t>(part));
    } else {
      if (part > sizeof outgoing_) part = sizeof outgoing_;
      for (size_t i = 0; i < part; ++i) outgoing_[i] = data[i];
      transmit(outgoing_, static_cast<uint32_t>(part));
    }
    data += part;
    n -= part;
  }
}

void Console::interrupt() {
  if (read(reg::UARTE0_EVENTS_RXSTARTED) != 0) {
    clear(reg::UARTE0_EVENTS_RXSTARTED);
    blocks_started_ = blocks_started_ + 1;
    write(reg::UARTE0_RXD_PTR, address_of(ring_) + blocks_started_ % kBlocks * kBlockBytes);
  }
  if (read(reg::UARTE0_EVENTS_ERROR) != 0) {
    clear(reg::UARTE0_EVENTS_ERROR);
    const uint32_t source = read(reg::UARTE0_ERRORSRC);
    write(reg::UARTE0_ERRORSRC, source);  // ones clear
    if (reg::UARTE0_ERRORSRC_OVERRUN.of(source) != 0) overruns_ = overruns_ + 1;
    if ((source & ~reg::UARTE0_ERRORSRC_OVERRUN.mask()) != 0) line_errors_ = line_errors_ + 1;
    if (!stopped_) stop_receiver();
  }
  if (read(reg::UARTE0_EVENTS_RXDRDY) != 0) {
    wake_on_byte(false);  // it has woken the core; left on, it would come with every byte
    clear(reg::UARTE0_EVENTS_RXDRDY);
  }
}

}  // namespace hal::nrf52
