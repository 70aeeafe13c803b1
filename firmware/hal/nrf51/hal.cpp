// nRF51822: BBC micro:bit v1.
//
// The part has no SysTick. TIMER0, 32 bits at 16 MHz, is the cycle counter: the core runs at the same 16 MHz, so a
// count is a cycle. TIMER1 is the tick of idle().
//
// P0.24 (TX) and P0.25 (RX) go to the interface chip's virtual port; marker on edge connector ring 0, P0.03. QEMU's
// first serial line.
#include "hal/hal.hpp"

#include "hal/common/core.hpp"
#include "hal/common/fault.hpp"
#include "hal/common/ring.hpp"
#include "hal/common/vectors.hpp"
#include "hal/nrf51/clock.hpp"
#include "hal/nrf51/registers.hpp"

extern "C" {
void uart_interrupt();
void tick_interrupt();
}

namespace hal {
namespace {

constexpr uint32_t kTransmitPin = 24;
constexpr uint32_t kReceivePin = 25;
constexpr uint32_t kMarkerPin = 3;
constexpr uint32_t kDisconnected = 0xFFFFFFFF;
constexpr uint32_t kUartEnabled = 4;

constexpr uint32_t kBits16 = 0;
constexpr uint32_t kBits32 = 3;
constexpr uint32_t kTickPrescaler = 9;  // 16 MHz / 512 = 31250 Hz
constexpr uint32_t kTickCounts = 3125;  // 100 ms

// One link chunk; a frame is a little more, but the session takes bytes as they come.
constexpr uint32_t kRingBytes = 256;

// The values of the BAUDRATE register in Nordic's own file; 0 for a rate that the part cannot do.
constexpr uint32_t baud_setting(uint32_t baud) {
  switch (baud) {
    case 9600:
      return 0x00275000;
    case 19200:
      return 0x004EA000;
    case 38400:
      return 0x009D5000;
    case 57600:
      return 0x00EBF000;
    case 115200:
      return 0x01D7E000;
    case 230400:
      return 0x03AFB000;
    case 250000:
      return 0x04000000;
    case 460800:
      return 0x075F7000;
    case 921600:
      return 0x0EBED000;
    case 1000000:
      return 0x10000000;
    default:
      return 0;
  }
}
static_assert(baud_setting(FTTE_BAUD) != 0, "the nRF51's UART has no such baud rate");

constexpr uint32_t kInterrupts = 32;
constexpr Vector kVectors[] = {{reg::UART0_IRQ, uart_interrupt}, {reg::TIMER1_IRQ, tick_interrupt}};

Ring<kRingBytes> g_ring;
volatile uint32_t g_overruns;
volatile uint32_t g_line_errors;
volatile bool g_tick;
uint64_t g_total;
uint32_t g_last;
ClockSource g_clock_source;
ResetCause g_reset_cause;

// Both halves of RAM on: early revisions do not power them after every reset, so Nordic's own start-up code does this.
// The cause register keeps its bits until they are written with ones.
ResetCause find_reset_cause() {
  write(reg::POWER_RAMON, read(reg::POWER_RAMON) | reg::POWER_RAMON_ONRAM0(1) | reg::POWER_RAMON_ONRAM1(1));
  const uint32_t flags = read(reg::POWER_RESETREAS);
  write(reg::POWER_RESETREAS, flags);
  const ResetCause mark = take_reset_mark();
  if (mark != ResetCause::kUnknown) return mark;
  if (reg::POWER_RESETREAS_DOG.of(flags) != 0) return ResetCause::kWatchdog;
  if (reg::POWER_RESETREAS_LOCKUP.of(flags) != 0) return ResetCause::kFault;
  if (reg::POWER_RESETREAS_SREQ.of(flags) != 0) return ResetCause::kSoftware;
  if (reg::POWER_RESETREAS_RESETPIN.of(flags) != 0) return ResetCause::kPin;
  return flags == 0 ? ResetCause::kPowerOn : ResetCause::kUnknown;
}

void start_timers() {
  write(reg::TIMER0_TASKS_STOP, 1);
  write(reg::TIMER0_MODE, 0);
  write(reg::TIMER0_BITMODE, kBits32);
  write(reg::TIMER0_PRESCALER, 0);
  write(reg::TIMER0_TASKS_CLEAR, 1);
  write(reg::TIMER0_TASKS_START, 1);
  write(reg::TIMER1_TASKS_STOP, 1);
  write(reg::TIMER1_MODE, 0);
  write(reg::TIMER1_BITMODE, kBits16);
  write(reg::TIMER1_PRESCALER, kTickPrescaler);
  write(reg::TIMER1_CC0, kTickCounts);
  write(reg::TIMER1_INTENSET, reg::TIMER1_INTENSET_COMPARE0(1));
  core::nvic_enable(reg::TIMER1_IRQ);  // it runs only inside idle()
}

void start_uart() {
  write(reg::GPIO_OUTSET, 1U << kTransmitPin);  // the line's rest level before the pin drives
  write(reg::GPIO_DIRSET, 1U << kTransmitPin | 1U << kMarkerPin);
  constexpr uint32_t kPullUp = 3;
  write(reg::GPIO_PIN_CNF25,
        reg::GPIO_PIN_CNF25_DIR(0) | reg::GPIO_PIN_CNF25_INPUT(0) | reg::GPIO_PIN_CNF25_PULL(kPullUp));
  write(reg::UART0_PSELTXD, kTransmitPin);
  write(reg::UART0_PSELRXD, kReceivePin);
  write(reg::UART0_PSELRTS, kDisconnected);
  write(reg::UART0_PSELCTS, kDisconnected);
  write(reg::UART0_BAUDRATE, baud_setting(FTTE_BAUD));
  write(reg::UART0_CONFIG, 0);  // no parity, no flow control
  write(reg::UART0_ENABLE_ENABLE, kUartEnabled);
  write(reg::UART0_EVENTS_RXDRDY, 0);
  write(reg::UART0_EVENTS_TXDRDY, 0);
  write(reg::UART0_EVENTS_ERROR, 0);
  write(reg::UART0_INTENSET, reg::UART0_INTENSET_RXDRDY(1) | reg::UART0_INTENSET_ERROR(1));
  core::nvic_enable(reg::UART0_IRQ);
  write(reg::UART0_TASKS_STARTTX, 1);
  write(reg::UART0_TASKS_STARTRX, 1);
}

}  // namespace

void init() {
  g_reset_cause = find_reset_cause();
  g_clock_source = nrf51::start_clock();
  start_timers();
  g_total = 0;
  g_last = 0;
  start_uart();
  nrf51::start_watchdog();
}

uint32_t core_hz() { return nrf51::kCoreHz; }
ClockSource clock_source() { return g_clock_source; }
ResetCause reset_cause() { return g_reset_cause; }

void device_uid(uint8_t out[12]) {
  const uint32_t words[3] = {read(reg::FICR_DEVICEID0), read(reg::FICR_DEVICEID1), 0};
  for (uint32_t i = 0; i < 12; ++i) out[i] = static_cast<uint8_t>(words[i / 4] >> (8 * (i % 4)));
}

bool uart_read(uint8_t& byte) { return g_ring.pop(byte); }

void uart_write(const uint8_t* data, size_t n) {
  for (size_t i = 0; i < n; ++i) {
    write(reg::UART0_TXD, data[i]);
    while (read(reg::UART0_EVENTS_TXDRDY) == 0) {
    }
    write(reg::UART0_EVENTS_TXDRDY, 0);
  }
}

void uart_flush() {}  // uart_write() returns when the last byte is on the line

uint32_t uart_overruns() { return g_overruns; }
uint32_t uart_line_errors() { return g_line_errors; }

uint64_t cycles() {
  const core::IrqLock lock;
  write(reg::TIMER0_TASKS_CAPTURE0, 1);
  const uint32_t now = read(reg::TIMER0_CC0);
  g_total += now - g_last;
  g_last = now;
  return g_total;
}

void idle() {
  watchdog_feed();
  core::irq_disable();
  g_tick = false;
  write(reg::TIMER1_EVENTS_COMPARE0, 0);
  write(reg::TIMER1_TASKS_CLEAR, 1);
  write(reg::TIMER1_TASKS_START, 1);
  while (g_ring.empty() && !g_tick) {
    core::wait_for_interrupt();
    core::irq_enable();  // the handler runs here
    core::irq_disable();
  }
  write(reg::TIMER1_TASKS_STOP, 1);
  write(reg::TIMER1_EVENTS_COMPARE0, 0);
  core::nvic_clear_pending(reg::TIMER1_IRQ);  // a tick that came just now interrupts nothing
  core::irq_enable();
  watchdog_feed();
}

void watchdog_feed() {
  nrf51::feed_watchdog();
  cycles();
}

void marker_pin(bool high) { write(high ? reg::GPIO_OUTSET : reg::GPIO_OUTCLR, 1U << kMarkerPin); }

}  // namespace hal

FTTE_VECTOR_SECTION const constexpr hal::VectorTable<hal::kInterrupts> ftte_vectors =
    hal::make_vectors<hal::kInterrupts>(fault_entry, hal::kVectors);

// The event is cleared before the byte is taken: taking it may raise the next one at once (chapter UART, Reception).
extern "C" void uart_interrupt() {
  using namespace hal;
  if (read(reg::UART0_EVENTS_ERROR) != 0) {
    write(reg::UART0_EVENTS_ERROR, 0);
    const uint32_t source = read(reg::UART0_ERRORSRC);
    write(reg::UART0_ERRORSRC, source);  // ones clear
    if (reg::UART0_ERRORSRC_OVERRUN.of(source) != 0) g_overruns = g_overruns + 1;
    if ((source & ~reg::UART0_ERRORSRC_OVERRUN.mask()) != 0) g_line_errors = g_line_errors + 1;
  }
  while (read(reg::UART0_EVENTS_RXDRDY) != 0) {
    write(reg::UART0_EVENTS_RXDRDY, 0);
    const uint8_t byte = static_cast<uint8_t>(read(reg::UART0_RXD));
    if (!g_ring.push(byte)) g_overruns = g_overruns + 1;
  }
}

extern "C" void tick_interrupt() {
  hal::write(hal::reg::TIMER1_EVENTS_COMPARE0, 0);
  hal::g_tick = true;
}
