// The clock tree of the STM32F2 and F4, which differ in limits and in the F4's voltage scaling only. Included by each
// family's clock.cpp behind its registers.hpp, whose names (checked against that family's SVD file) it uses.
// RM0033 and RM0090, chapters RCC, PWR and Embedded flash.
#pragma once

#include <cstdint>

#include "hal/common/mmio.hpp"
#include "hal/stm32/clock.hpp"

namespace hal::stm32 {

struct Pll {
  uint32_t m, n, p, q;
};

// P = 2 throughout: both rated clocks need the VCO at twice their frequency. The PLL's input is 2 MHz where source and
// the least N allow it, for the least jitter (RM0090, RCC_PLLCFGR.PLLM), else 1 MHz.
constexpr Pll solve_pll(uint32_t source_hz, uint32_t core_hz, uint32_t least_n) {
  const uint32_t vco_hz = 2 * core_hz;
  const bool two_mhz = source_hz % 2000000 == 0 && vco_hz % 2000000 == 0 && vco_hz / 2000000 >= least_n;
  const uint32_t input_hz = two_mhz ? 2000000 : 1000000;
  return {source_hz / input_hz, vco_hz / input_hz, 2, (vco_hz + 48000000 - 1) / 48000000};
}

constexpr bool pll_valid(const Pll& pll, uint32_t source_hz, uint32_t core_hz, uint32_t least_n) {
  const uint64_t input_hz = source_hz / pll.m;
  const uint64_t vco_hz = input_hz * pll.n;
  return source_hz % pll.m == 0 && pll.m >= 2 && pll.m <= 63 && input_hz >= 1000000 && input_hz <= 2000000 &&
         pll.n >= least_n && pll.n <= 432 && vco_hz >= 192000000 && vco_hz <= 432000000 && vco_hz / pll.p == core_hz &&
         pll.q >= 2 && pll.q <= 15 && vco_hz / pll.q <= 48000000;
}

inline constexpr uint32_t kHsiHz = 16000000;
inline constexpr uint32_t kSwitchHsi = 0;
inline constexpr uint32_t kSwitchPll = 2;
inline constexpr uint32_t kApbDiv1 = 0;
inline constexpr uint32_t kApbDiv2 = 4;
inline constexpr uint32_t kApbDiv4 = 5;

// Polls at 16 MHz take at least eight cycles each: 30 ms for a crystal (a few ms on the data sheet), 10 ms for the PLL
// (300 us), and far more than the few cycles that a flash or switch read-back needs.
inline constexpr uint32_t kCrystalPolls = 60000;
inline constexpr uint32_t kPllPolls = 20000;
inline constexpr uint32_t kReadBackPolls = 1000;

inline constexpr Clocks kResetDefault{kHsiHz, kHsiHz, kHsiHz, ClockSource::kResetDefault};

// Back to the state that a reset leaves, if a boot loader left another: the PLL must not be configured while it runs
// or drives the core. False when the hardware does not follow.
inline bool return_to_hsi() {
  write(reg::RCC_CR_HSION, 1);
  if (read(reg::RCC_CFGR_SWS) != kSwitchHsi) {
    if (!wait_for(reg::RCC_CR_HSIRDY, 1, kReadBackPolls)) return false;
    write(reg::RCC_CFGR_SW, kSwitchHsi);
    if (!wait_for(reg::RCC_CFGR_SWS, kSwitchHsi, kReadBackPolls)) return false;
  }
  write(reg::RCC_CR_PLLON, 0);
  return wait_for(reg::RCC_CR_PLLRDY, 0, kPllPolls);
}

// More wait states than the present clock needs are harmless, fewer than the next one needs are not: so they are set,
// and seen to be set, before the switch. The caches are empty after a reset. (Revision A of the F405 cannot
// prefetch, ES0182: a board with one must leave PRFTEN clear.)
inline bool set_wait_states(uint32_t wait_states) {
  write(reg::FLASH_ACR, reg::FLASH_ACR_LATENCY(wait_states) | reg::FLASH_ACR_PRFTEN(1) | reg::FLASH_ACR_ICEN(1) |
                            reg::FLASH_ACR_DCEN(1));
  return wait_for(reg::FLASH_ACR_LATENCY, wait_states, kReadBackPolls);
}

// The register's other bits keep their reset value: reserved here, one more divisor on the F412.
inline bool start_pll(const Pll& pll, bool from_crystal) {
  constexpr uint32_t kOurs = reg::RCC_PLLCFGR_PLLM.mask() | reg::RCC_PLLCFGR_PLLN.mask() |
                             reg::RCC_PLLCFGR_PLLP.mask() | reg::RCC_PLLCFGR_PLLSRC.mask() |
                             reg::RCC_PLLCFGR_PLLQ.mask();
  write(reg::RCC_PLLCFGR, (read(reg::RCC_PLLCFGR) & ~kOurs) | reg::RCC_PLLCFGR_PLLM(pll.m) |
                              reg::RCC_PLLCFGR_PLLN(pll.n) | reg::RCC_PLLCFGR_PLLP(pll.p / 2 - 1) |
                              reg::RCC_PLLCFGR_PLLSRC(from_crystal ? 1 : 0) | reg::RCC_PLLCFGR_PLLQ(pll.q));
  write(reg::RCC_CR_PLLON, 1);
  return wait_for(reg::RCC_CR_PLLRDY, 1, kPllPolls);
}

inline bool switch_to_pll(uint32_t apb1, uint32_t apb2) {
  write(reg::RCC_CFGR_PPRE1, apb1);  // before the switch: the buses never run above their limits
  write(reg::RCC_CFGR_PPRE2, apb2);
  write(reg::RCC_CFGR_SW, kSwitchPll);
  return wait_for(reg::RCC_CFGR_SWS, kSwitchPll, kReadBackPolls);
}

inline Clocks stay_on_hsi() {
  write(reg::RCC_CFGR_SW, kSwitchHsi);
  wait_for(reg::RCC_CFGR_SWS, kSwitchHsi, kReadBackPolls);
  write(reg::RCC_CFGR_PPRE1, kApbDiv1);
  write(reg::RCC_CFGR_PPRE2, kApbDiv1);
  write(reg::RCC_CR_PLLON, 0);
  write(reg::RCC_CR_HSEON, 0);
  return kResetDefault;
}

}  // namespace hal::stm32
