// nRF52840: Nordic's development kit (PCA10056) and Arduino Nano 33 BLE.
//
// Cycles come from DWT. TIMER1 is the tick of idle(): SysTick stands still while this core sleeps, since its clock
// does (Product Specification, chapter CPU). UICR is read and never written: what an owner has decided there (access
// protection, reset pin, regulator) stays.
#include "hal/hal.hpp"

#include "hal/common/core.hpp"
#include "hal/common/dwt.hpp"
#include "hal/common/fault.hpp"
#include "hal/common/vectors.hpp"
#include "hal/nrf52/board.hpp"
#include "hal/nrf52/clock.hpp"
#include "hal/nrf52/console.hpp"
#include "hal/nrf52/registers.hpp"

extern "C" {
void uarte_interrupt();
void tick_interrupt();
}

namespace hal {
namespace {

// DK: P0.06 (TX) and P0.08 (RX) go to the J-Link's virtual port; marker on header D2. Nano 33 BLE: its USB is the
// chip's own, so the console is on the header, TX1 and RX0; marker on D2.
constexpr nrf52::Board kBoards[] = {
    {"nrf52840_dk", {0, 6}, {0, 8}, {1, 3}},
    {"nano33ble", {1, 3}, {1, 10}, {1, 11}},
};

constexpr bool same(const char* a, const char* b) {
  while (*a != 0 && *a == *b) ++a, ++b;
  return *a == *b;
}

constexpr size_t find_board(const char* env) {
  size_t index = 0;
  while (index < sizeof kBoards / sizeof kBoards[0] && !same(kBoards[index].env, env)) ++index;
  return index;
}

constexpr size_t kIndex = find_board(FTTE_ENV);
static_assert(kIndex < sizeof kBoards / sizeof kBoards[0], "FTTE_ENV names no board with an nRF52840");
constexpr const nrf52::Board& kBoard = kBoards[kIndex];
static_assert(nrf52::baud_setting(FTTE_BAUD) != 0, "the nRF52840's UARTE has no such baud rate");

constexpr uint32_t kBits16 = 0;
constexpr uint32_t kTickPrescaler = 9;  // 16 MHz / 512 = 31250 Hz
constexpr uint32_t kTickCounts = 3125;  // 100 ms

constexpr uint32_t kInterrupts = 48;
constexpr Vector kVectors[] = {{reg::UARTE0_UART0_IRQ, uarte_interrupt}, {reg::TIMER1_IRQ, tick_interrupt}};

nrf52::Console g_console;
volatile bool g_tick;
uint64_t g_total;
uint32_t g_last;
ClockSource g_clock_source;
ResetCause g_reset_cause;

// The register keeps its bits until they are written with ones. A pin reset may set other bits with its own (anomaly
// 136), so it is asked for first.
ResetCause find_reset_cause() {
  const uint32_t flags = read(reg::POWER_RESETREAS);
  write(reg::POWER_RESETREAS, flags);
  const ResetCause mark = take_reset_mark();
  if (mark != ResetCause::kUnknown) return mark;
  if (reg::POWER_RESETREAS_RESETPIN.of(flags) != 0) return ResetCause::kPin;
  if (reg::POWER_RESETREAS_DOG.of(flags) != 0) return ResetCause::kWatchdog;
  if (reg::POWER_RESETREAS_LOCKUP.of(flags) != 0) return ResetCause::kFault;
  if (reg::POWER_RESETREAS_SREQ.of(flags) != 0) return ResetCause::kSoftware;
  return flags == 0 ? ResetCause::kPowerOn : ResetCause::kUnknown;
}

// From build code F0 on, the debug port stays shut after each reset unless UICR and the firmware both open it
// (nWP-027). The owner's word in UICR is followed; on older parts it never has this value.
void follow_access_protection() {
  constexpr uint32_t kDisabled = 0x5A;
  if (read(reg::UICR_APPROTECT_PALL) == kDisabled) write(reg::APPROTECT_DISABLE, kDisabled);
}

void start_tick_timer() {
  write(reg::TIMER1_TASKS_STOP, 1);
  write(reg::TIMER1_MODE, 0);
  write(reg::TIMER1_BITMODE, kBits16);
  write(reg::TIMER1_PRESCALER, kTickPrescaler);
  write(reg::TIMER1_CC0, kTickCounts);
  write(reg::TIMER1_INTENSET, reg::TIMER1_INTENSET_COMPARE0(1));
  core::nvic_enable(reg::TIMER1_IRQ);  // it runs only inside idle()
}

// An exception flag of the FPU pends its interrupt, which then ends every sleep at once (anomaly 87).
void clear_fpu_exceptions() {
  constexpr uint32_t kFlags = 0x9F;
  uint32_t status;
  __asm volatile("vmrs %0, fpscr" : "=r"(status));
  __asm volatile("vmsr fpscr, %0" ::"r"(status & ~kFlags));
  core::nvic_clear_pending(reg::FPU_IRQ);
}

}  // namespace

void init() {
  g_reset_cause = find_reset_cause();
  follow_access_protection();
  write(reg::NVMC_ICACHECNF_CACHEEN, 1);  // without it flash costs two wait states
  g_clock_source = nrf52::start_clock();
  static_cast<void>(core::start_dwt());  // this core has one: Product Specification, chapter CPU
  g_total = 0;
  g_last = read(core::DWT_CYCCNT);
  start_tick_timer();
  nrf52::set_output(kBoard.marker, false);
  g_console.start(kBoard, FTTE_BAUD);
  nrf52::start_watchdog();
}

uint32_t core_hz() { return nrf52::kCoreHz; }
ClockSource clock_source() { return g_clock_source; }
ResetCause reset_cause() { return g_reset_cause; }

void device_uid(uint8_t out[12]) {
  const uint32_t words[3] = {read(reg::FICR_DEVICEID0), read(reg::FICR_DEVICEID1), 0};
  for (uint32_t i = 0; i < 12; ++i) out[i] = static_cast<uint8_t>(words[i / 4] >> (8 * (i % 4)));
}

bool uart_read(uint8_t& byte) { return g_console.pop(byte); }
void uart_write(const uint8_t* data, size_t n) { g_console.send(data, n); }
void uart_flush() {}  // uart_write() returns when the last byte is on the line
uint32_t uart_overruns() { return g_console.overruns(); }
uint32_t uart_line_errors() { return g_console.line_errors(); }

// The counter stands still while the core sleeps, and wraps after a minute of work: whoever feeds the watchdog calls
// this often enough.
uint64_t cycles() {
  const core::IrqLock lock;
  const uint32_t now = read(core::DWT_CYCCNT);
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
  g_console.wake_on_byte(true);
  while (!g_console.something_to_do() && !g_tick) {
    clear_fpu_exceptions();
    core::wait_for_interrupt();
    core::irq_enable();  // the handler runs here
    core::irq_disable();
  }
  g_console.wake_on_byte(false);
  write(reg::TIMER1_TASKS_STOP, 1);
  write(reg::TIMER1_TASKS_SHUTDOWN, 1);  // anomaly 78: stopped alone it keeps drawing current
  write(reg::TIMER1_EVENTS_COMPARE0, 0);
  if (core::restart_dwt()) g_last = read(core::DWT_CYCCNT);
  core::nvic_clear_pending(reg::TIMER1_IRQ);  // a tick that came just now interrupts nothing
  core::irq_enable();
  watchdog_feed();
}

void watchdog_feed() {
  nrf52::feed_watchdog();
  cycles();
}

void marker_pin(bool high) { nrf52::drive(kBoard.marker, high); }

}  // namespace hal

FTTE_VECTOR_SECTION const constexpr hal::VectorTable<hal::kInterrupts> ftte_vectors =
    hal::make_vectors<hal::kInterrupts>(fault_entry, hal::kVectors);

extern "C" void uarte_interrupt() { hal::g_console.interrupt(); }

extern "C" void tick_interrupt() {
  hal::write(hal::reg::TIMER1_EVENTS_COMPARE0, 0);
  static_cast<void>(hal::read(hal::reg::TIMER1_EVENTS_COMPARE0));
  hal::g_tick = true;
}
