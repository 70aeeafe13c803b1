#include "hal/stm32f4/registers.hpp"

// Behind the registers, whose names it uses.
#include "hal/stm32/clock_f2f4.hpp"

namespace hal::stm32 {
namespace {

constexpr uint32_t kCoreHz = FTTE_CORE_HZ;
constexpr uint32_t kCrystalHz = FTTE_HSE_HZ;
constexpr Pll kFromCrystal = solve_pll(kCrystalHz, kCoreHz);
constexpr Pll kFromHsi = solve_pll(kHsiHz, kCoreHz);
constexpr uint32_t kWaitStates = 5;  // 150 to 168 MHz at 2.7 to 3.6 V: RM0090, chapter Embedded flash, Read interface

static_assert(kCoreHz > 150000000 && kCoreHz <= 168000000, "wait states, prescalers and voltage scale are for these");
static_assert(pll_valid(kFromCrystal, kCrystalHz, kCoreHz) && pll_valid(kFromHsi, kHsiHz, kCoreHz), "PLL limits");
static_assert(kCoreHz / 4 <= 42000000 && kCoreHz / 2 <= 84000000, "bus limits");

// Scale 1 is what more than 144 MHz needs. It may change only while the PLL is off, and is reached once the PLL runs
// (RM0090, PWR_CR.VOS).
void request_voltage_scale_1() {
  write(reg::RCC_APB1ENR_PWREN, 1);
  static_cast<void>(read(reg::RCC_APB1ENR_PWREN));
  write(reg::PWR_CR_VOS, 1);
}

}  // namespace

Clocks start_clocks() {
  if (!return_to_hsi()) return stay_on_hsi();
  request_voltage_scale_1();
  write(reg::RCC_CR_HSEON, 1);
  const bool crystal = wait_for(reg::RCC_CR_HSERDY, 1, kCrystalPolls);
  if (!crystal) write(reg::RCC_CR_HSEON, 0);
  if (!set_wait_states(kWaitStates)) return stay_on_hsi();
  if (!start_pll(crystal ? kFromCrystal : kFromHsi, crystal)) return stay_on_hsi();
  if (!wait_for(reg::PWR_CSR_VOSRDY, 1, kPllPolls)) return stay_on_hsi();
  if (!switch_to_pll(kApbDiv4, kApbDiv2)) return stay_on_hsi();
  return {kCoreHz, kCoreHz / 4, kCoreHz / 2, crystal ? ClockSource::kCrystalPll : ClockSource::kInternalPll};
}

}  // namespace hal::stm32
