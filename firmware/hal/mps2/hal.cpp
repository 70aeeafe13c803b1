// Arm MPS2+ FPGA images AN385 (Cortex-M3), AN386 (M4F), AN500 (M7) and AN505 (M33): megabytes of RAM, for models larger
// than a microcontroller's. There is no clock tree to set up, no flash, no unique id; AN505 boots in the Secure state
// and stays there. The watchdog of the images is not used: they run on a desk or in an emulator.
#include "hal/hal.hpp"

#include "hal/common/core.hpp"
#include "hal/common/fault.hpp"
#include "hal/common/ring.hpp"
#include "hal/common/vectors.hpp"
#include "hal/mps2/registers.hpp"
#include "hal/systick/time.hpp"

extern "C" void uart_interrupt();

namespace hal {
namespace {

constexpr uint32_t kRingBytes = 2048;
#if defined(FTTE_CHUNK_BYTES)
static_assert(kRingBytes >= 2 * FTTE_CHUNK_BYTES, "room for two chunks of the link");
#endif
constexpr uint32_t kInterrupts = 48;
constexpr uint32_t kSmallestDivider = 16;  // DDI 0479, BAUDDIV
constexpr uint32_t kDivider = FTTE_CORE_HZ / FTTE_BAUD;
static_assert(kDivider >= kSmallestDivider, "the UART has no such baud rate");

constexpr Vector kVectors[] = {{mps2::reg::UART0_RX_IRQ, uart_interrupt}};

Ring<kRingBytes> g_ring;
volatile uint32_t g_overruns;
ResetCause g_reset_cause;

bool received() { return !g_ring.empty(); }

}  // namespace

void init() {
  g_reset_cause = take_reset_mark();
  if (g_reset_cause == ResetCause::kUnknown) g_reset_cause = ResetCause::kPowerOn;
  systick::time_init();
  write(mps2::reg::UART_BAUDDIV, kDivider);
  write(mps2::reg::UART_CTRL,
        mps2::reg::UART_CTRL_TXENABLE(1) | mps2::reg::UART_CTRL_RXENABLE(1) | mps2::reg::UART_CTRL_RXINTEN(1));
  core::nvic_enable(mps2::reg::UART0_RX_IRQ);
}

uint32_t core_hz() { return FTTE_CORE_HZ; }
ClockSource clock_source() { return ClockSource::kResetDefault; }
ResetCause reset_cause() { return g_reset_cause; }

void device_uid(uint8_t out[12]) {
  for (uint32_t i = 0; i < 12; ++i) out[i] = 0;
}

bool uart_read(uint8_t& byte) { return g_ring.pop(byte); }

void uart_write(const uint8_t* data, size_t n) {
  for (size_t i = 0; i < n; ++i) {
    while (read(mps2::reg::UART_STATE_TXFULL) != 0) {
    }
    write(mps2::reg::UART_DATA, data[i]);
  }
}

void uart_flush() {
  while (read(mps2::reg::UART_STATE_TXFULL) != 0) {
  }
}

uint32_t uart_overruns() { return g_overruns; }
uint32_t uart_line_errors() { return 0; }  // the UART does not tell

void idle() { systick::sleep_until(received); }
void watchdog_feed() { cycles(); }  // whoever feeds often enough for a watchdog also does for the counter
void marker_pin(bool) {}            // no pin of the images is free for all of them

}  // namespace hal

extern "C" void uart_interrupt() {
  using namespace hal;
  write(mps2::reg::UART_INTCLEAR, mps2::reg::UART_INTCLEAR_RX(1));
  if (read(mps2::reg::UART_STATE_RXOVERRUN) != 0) {
    write(mps2::reg::UART_STATE, mps2::reg::UART_STATE_RXOVERRUN(1));
    g_overruns = g_overruns + 1;
  }
  while (read(mps2::reg::UART_STATE_RXFULL) != 0) {
    if (!g_ring.push(static_cast<uint8_t>(read(mps2::reg::UART_DATA)))) g_overruns = g_overruns + 1;
  }
}

FTTE_VECTOR_SECTION const constexpr hal::VectorTable<hal::kInterrupts> ftte_vectors =
    hal::make_vectors<hal::kInterrupts>(systick_interrupt, hal::kVectors);
