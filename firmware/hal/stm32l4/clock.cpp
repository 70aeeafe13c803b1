// The clock tree of the STM32L475: RM0351, chapters RCC, PWR and Embedded flash. No crystal:
// the board has none for the core, and the MSI starts it.
#include "hal/stm32/clock.hpp"
#include "hal/stm32l4/registers.hpp"

namespace hal::stm32 {
namespace {

struct Pll {
  uint32_t source, m, n, r;
};

constexpr uint32_t kMsiHz = 4000000;  // range 6, the reset default
constexpr uint32_t kMsiRange4MHz = 6;
constexpr uint32_t kHsiHz = 16000000;
constexpr uint32_t kCoreHz = FTTE_CORE_HZ;
constexpr Pll kFromMsi{1, 1, 40, 2};
constexpr Pll kFromHsi{2, 2, 20, 2};

constexpr bool valid(const Pll& pll, uint32_t source_hz) {
  const uint32_t input_hz = source_hz / pll.m;
  const uint32_t vco_hz = input_hz * pll.n;
  return source_hz % pll.m == 0 && pll.m >= 1 && pll.m <= 8 && input_hz >= 4000000 && input_hz <= 16000000 &&
         pll.n >= 8 && pll.n <= 86 && vco_hz >= 64000000 && vco_hz <= 344000000 && vco_hz / pll.r == kCoreHz;
}
static_assert(kCoreHz == 80000000 && valid(kFromMsi, kMsiHz) && valid(kFromHsi, kHsiHz), "PLL limits");

constexpr uint32_t kWaitStates = 4;  // 64 to 80 MHz in range 1: RM0351, Read access latency
constexpr uint32_t kSwitchMsi = 0;
constexpr uint32_t kSwitchPll = 3;
constexpr uint32_t kRange1 = 1;

// Polls take at least eight cycles: 2 us at 4 MHz. Oscillators and the PLL need microseconds, the regulator 40 us.
constexpr uint32_t kPolls = 5000;

constexpr Clocks kResetDefault{kMsiHz, kMsiHz, kMsiHz, ClockSource::kResetDefault};

// As after a reset, if a boot loader left another clock: 4 MHz MSI, PLL off.
bool return_to_msi() {
  write(reg::RCC_CR_MSION, 1);
  if (read(reg::RCC_CFGR_SWS) != kSwitchMsi) {
    if (!wait_for(reg::RCC_CR_MSIRDY, 1, kPolls)) return false;
    write(reg::RCC_CFGR_SW, kSwitchMsi);
    if (!wait_for(reg::RCC_CFGR_SWS, kSwitchMsi, kPolls)) return false;
  }
  write(reg::RCC_CR_PLLON, 0);
  return wait_for(reg::RCC_CR_PLLRDY, 0, kPolls);
}

// The range may be written only while the MSI is off or ready (RM0351, RCC_CR.MSIRANGE); it is already the wanted one
// after a reset, so it is written only if a boot loader left another.
bool msi_at_4_mhz() {
  if (!wait_for(reg::RCC_CR_MSIRDY, 1, kPolls)) return false;
  const uint32_t control = read(reg::RCC_CR);
  if (reg::RCC_CR_MSIRGSEL.of(control) != 0 && reg::RCC_CR_MSIRANGE.of(control) != kMsiRange4MHz) {
    write(reg::RCC_CR_MSIRANGE, kMsiRange4MHz);
  }
  return wait_for(reg::RCC_CR_MSIRDY, 1, kPolls);
}

bool hsi_ready() {
  write(reg::RCC_CR_HSION, 1);
  return wait_for(reg::RCC_CR_HSIRDY, 1, kPolls);
}

bool voltage_range_1() {
  write(reg::RCC_APB1ENR1_PWREN, 1);
  static_cast<void>(read(reg::RCC_APB1ENR1_PWREN));
  write(reg::PWR_CR1_VOS, kRange1);
  return wait_for(reg::PWR_SR2_VOSF, 0, kPolls);
}

bool set_wait_states() {
  write(reg::FLASH_ACR, reg::FLASH_ACR_LATENCY(kWaitStates) | reg::FLASH_ACR_PRFTEN(1) | reg::FLASH_ACR_ICEN(1) |
                            reg::FLASH_ACR_DCEN(1));
  return wait_for(reg::FLASH_ACR_LATENCY, kWaitStates, kPolls);
}

bool start_pll(const Pll& pll) {
  const uint32_t config = reg::RCC_PLLCFGR_PLLSRC(pll.source) | reg::RCC_PLLCFGR_PLLM(pll.m - 1) |
                          reg::RCC_PLLCFGR_PLLN(pll.n) | reg::RCC_PLLCFGR_PLLR(pll.r / 2 - 1);
  write(reg::RCC_PLLCFGR, config);
  write(reg::RCC_CR_PLLON, 1);
  if (!wait_for(reg::RCC_CR_PLLRDY, 1, kPolls)) return false;
  write(reg::RCC_PLLCFGR, config | reg::RCC_PLLCFGR_PLLREN(1));  // an output may be enabled while it runs
  return true;
}

Clocks stay_on_msi() {
  write(reg::RCC_CFGR_SW, kSwitchMsi);
  wait_for(reg::RCC_CFGR_SWS, kSwitchMsi, kPolls);
  write(reg::RCC_CR_PLLON, 0);
  write(reg::RCC_CR_HSION, 0);
  return kResetDefault;
}

}  // namespace

Clocks start_clocks() {
  if (!return_to_msi()) return stay_on_msi();
  const bool msi = msi_at_4_mhz();
  if (!msi && !hsi_ready()) return stay_on_msi();
  if (!voltage_range_1() || !set_wait_states()) return stay_on_msi();
  if (!start_pll(msi ? kFromMsi : kFromHsi)) return stay_on_msi();
  write(reg::RCC_CFGR_SW, kSwitchPll);
  if (!wait_for(reg::RCC_CFGR_SWS, kSwitchPll, kPolls)) return stay_on_msi();
  return {kCoreHz, kCoreHz, kCoreHz, ClockSource::kInternalPll};
}

}  // namespace hal::stm32
