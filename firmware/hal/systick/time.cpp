#include "hal/systick/time.hpp"

#include "hal/common/core.hpp"
#include "hal/common/dwt.hpp"
#include "hal/common/vectors.hpp"
#include "hal/hal.hpp"

namespace hal {
namespace {

// SysTick's longest period, always: 100 ms at 168 MHz, a second at 16 MHz. The watchdog allows eight.
constexpr uint32_t kSysTickMax = 0x00FFFFFFU;

uint64_t g_total;
uint32_t g_last;
bool g_has_dwt;
volatile bool g_tick;

// Counts up; only the low 32 (DWT) or 24 bits mean anything. SysTick counts down, through 0, over 2^24 values.
uint32_t counter() { return g_has_dwt ? read(core::DWT_CYCCNT) : 0U - read(core::SYST_CVR); }

}  // namespace

uint64_t cycles() {
  const core::IrqLock lock;  // the tick and the receive handler update the total too
  const uint32_t now = counter();
  g_total += (now - g_last) & (g_has_dwt ? 0xFFFFFFFFU : kSysTickMax);
  g_last = now;
  return g_total;
}

namespace systick {

void time_init() {
  write(core::SYST_CSR, 0);
  write(core::SYST_RVR, kSysTickMax);
  write(core::SYST_CVR, 0);
  write(core::SYST_CSR, core::SYST_CSR_ENABLE(1) | core::SYST_CSR_CLKSOURCE(1));
  g_has_dwt = core::start_dwt();
  g_total = 0;
  g_last = counter();
}

void tick_nudge() {
  const uint32_t control = read(core::SYST_CSR);
  write(core::SYST_CSR, control & ~core::SYST_CSR_ENABLE.mask());
  write(core::SYST_CSR, control);
}

void sleep_until(bool (*received)()) {
  core::irq_disable();
  g_tick = false;
  write(core::SYST_CSR_TICKINT, 1);
  while (!received() && !g_tick) {
    core::wait_for_interrupt();
    core::irq_enable();  // the handler runs here
    core::irq_disable();
  }
  write(core::SYST_CSR_TICKINT, 0);
  write(core::SCB_ICSR, core::SCB_ICSR_PENDSTCLR(1));  // a tick that came just now must not interrupt what follows
  if (g_has_dwt && core::restart_dwt()) g_last = counter();
  core::irq_enable();
}

}  // namespace systick
}  // namespace hal

extern "C" void systick_interrupt() {
  hal::g_tick = true;
  hal::cycles();  // so that no wrap of the counter is missed however long the board idles
}
