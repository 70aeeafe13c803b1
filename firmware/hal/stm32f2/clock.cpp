#include "hal/stm32f2/registers.hpp"

// Behind the registers, whose names it uses.
#include "hal/stm32/clock_f2f4.hpp"

namespace hal::stm32 {
namespace {

constexpr uint32_t kCoreHz = FTTE_CORE_HZ;
constexpr uint32_t kCrystalHz = FTTE_HSE_HZ;
constexpr uint32_t kLeastN = 192;  // RM0033, RCC_PLLCFGR.PLLN
constexpr Pll kFromCrystal = solve_pll(kCrystalHz, kCoreHz, kLeastN);
constexpr Pll kFromHsi = solve_pll(kHsiHz, kCoreHz, kLeastN);
constexpr uint32_t kWaitStates = 3;  // 90 to 120 MHz at 2.7 to 3.6 V: RM0033, chapter Embedded flash, Read interface

static_assert(kCoreHz > 90000000 && kCoreHz <= 120000000, "wait states and prescalers are for these");
static_assert(pll_valid(kFromCrystal, kCrystalHz, kCoreHz, kLeastN), "PLL limits");
static_assert(pll_valid(kFromHsi, kHsiHz, kCoreHz, kLeastN), "PLL limits");
static_assert(kCoreHz / 4 <= 30000000 && kCoreHz / 2 <= 60000000, "bus limits");

}  // namespace

Clocks start_clocks() {
  if (!return_to_hsi()) return stay_on_hsi();
  write(reg::RCC_CR_HSEON, 1);
  const bool crystal = wait_for(reg::RCC_CR_HSERDY, 1, kCrystalPolls);
  if (!crystal) write(reg::RCC_CR_HSEON, 0);
  if (!set_wait_states(kWaitStates)) return stay_on_hsi();
  if (!start_pll(crystal ? kFromCrystal : kFromHsi, crystal)) return stay_on_hsi();
  if (!switch_to_pll(kApbDiv4, kApbDiv2)) return stay_on_hsi();
  return {kCoreHz, kCoreHz / 4, kCoreHz / 2, crystal ? ClockSource::kCrystalPll : ClockSource::kInternalPll};
}

}  // namespace hal::stm32
