#include "hal/stm32f4/registers.hpp"

// Behind the registers, whose names they use.
#include "hal/stm32/clock_f2f4.hpp"
#include "hal/stm32f4/part.hpp"

namespace hal::stm32 {
namespace {

constexpr size_t kIndex = find_part(FTTE_ENV);
static_assert(kIndex < sizeof kClockParts / sizeof kClockParts[0], "FTTE_ENV names no STM32F4 board");
constexpr ClockPart kPart = kClockParts[kIndex];

constexpr uint32_t kCoreHz = FTTE_CORE_HZ;
constexpr uint32_t kCrystalHz = FTTE_HSE_HZ;
constexpr uint32_t kLeastN = 50;  // RM0090 and RM0402, RCC_PLLCFGR.PLLN
constexpr Pll kFromCrystal = solve_pll(kCrystalHz, kCoreHz, kLeastN);
constexpr Pll kFromHsi = solve_pll(kHsiHz, kCoreHz, kLeastN);

static_assert(kCoreHz >= kPart.least_hz && kCoreHz <= kPart.most_hz, "wait states and voltage scale are for these");
static_assert(pll_valid(kFromCrystal, kCrystalHz, kCoreHz, kLeastN), "PLL limits");
static_assert(pll_valid(kFromHsi, kHsiHz, kCoreHz, kLeastN), "PLL limits");
static_assert(kCoreHz / kPart.apb1_divisor <= kPart.apb1_most_hz, "bus limit");
static_assert(kCoreHz / kPart.apb2_divisor <= kPart.apb2_most_hz, "bus limit");

// Scale 1 may be set only while the PLL is off, and is reached once the PLL runs (RM0090 and RM0402, PWR_CR.VOS).
void request_voltage_scale_1() {
  write(reg::RCC_APB1ENR_PWREN, 1);
  static_cast<void>(read(reg::RCC_APB1ENR_PWREN));
  write(Field{reg::PWR_CR, reg::PWR_CR_VOS.position, kPart.scale_bits}, kPart.scale_1);
}

// The bypass may change only while the oscillator is off, as it is after a reset (RM0090, RCC_CR.HSEBYP).
bool start_crystal() {
  if (!kPart.crystal) {
    write(reg::RCC_CR_HSEON, 0);
    if (!wait_for(reg::RCC_CR_HSERDY, 0, kReadBackPolls)) return false;
    write(reg::RCC_CR_HSEBYP, 1);
  }
  write(reg::RCC_CR_HSEON, 1);
  const bool ready = wait_for(reg::RCC_CR_HSERDY, 1, kCrystalPolls);
  if (!ready) write(reg::RCC_CR_HSEON, 0);
  return ready;
}

}  // namespace

Clocks start_clocks() {
  if (!return_to_hsi()) return stay_on_hsi();
  request_voltage_scale_1();
  const bool crystal = start_crystal();
  if (!set_wait_states(kPart.wait_states)) return stay_on_hsi();
  if (!start_pll(crystal ? kFromCrystal : kFromHsi, crystal)) return stay_on_hsi();
  if (!wait_for(reg::PWR_CSR_VOSRDY, 1, kPllPolls)) return stay_on_hsi();
  if (!switch_to_pll(kPart.apb1_setting, kPart.apb2_setting)) return stay_on_hsi();
  return {kCoreHz, kCoreHz / kPart.apb1_divisor, kCoreHz / kPart.apb2_divisor,
          crystal ? ClockSource::kCrystalPll : ClockSource::kInternalPll};
}

}  // namespace hal::stm32
