// Registers of the Arm core itself, the same on every part: ARMv7-M Architecture Reference Manual, chapters B3 and C1;
// ARMv6-M's, chapter B3, where marked v6 (the others read as zero or do not exist there).
#pragma once

#include "hal/common/mmio.hpp"

namespace hal::core {

inline constexpr Register SYST_CSR{0xE000E010};
inline constexpr Field SYST_CSR_ENABLE{SYST_CSR, 0, 1};
inline constexpr Field SYST_CSR_TICKINT{SYST_CSR, 1, 1};
inline constexpr Field SYST_CSR_CLKSOURCE{SYST_CSR, 2, 1};
inline constexpr Register SYST_RVR{0xE000E014};
inline constexpr Register SYST_CVR{0xE000E018};

inline constexpr Register NVIC_ISER0{0xE000E100};  // v6
inline constexpr Register NVIC_ICPR0{0xE000E280};  // v6

inline constexpr Register SCB_ICSR{0xE000ED04};  // v6
inline constexpr Field SCB_ICSR_PENDSTCLR{SCB_ICSR, 25, 1};
inline constexpr Register SCB_VTOR{0xE000ED08};
inline constexpr Register SCB_AIRCR{0xE000ED0C};  // v6
inline constexpr Field SCB_AIRCR_SYSRESETREQ{SCB_AIRCR, 2, 1};
inline constexpr Field SCB_AIRCR_PRIGROUP{SCB_AIRCR, 8, 3};
inline constexpr Field SCB_AIRCR_VECTKEY{SCB_AIRCR, 16, 16};
inline constexpr uint32_t kVectKey = 0x05FA;
inline constexpr Register SCB_SHCSR{0xE000ED24};
inline constexpr Field SCB_SHCSR_MEMFAULTENA{SCB_SHCSR, 16, 1};
inline constexpr Field SCB_SHCSR_BUSFAULTENA{SCB_SHCSR, 17, 1};
inline constexpr Field SCB_SHCSR_USGFAULTENA{SCB_SHCSR, 18, 1};
inline constexpr Register SCB_CFSR{0xE000ED28};
inline constexpr Field SCB_CFSR_MMARVALID{SCB_CFSR, 7, 1};
inline constexpr Field SCB_CFSR_BFARVALID{SCB_CFSR, 15, 1};
inline constexpr Register SCB_MMFAR{0xE000ED34};
inline constexpr Register SCB_BFAR{0xE000ED38};
inline constexpr Register SCB_CPACR{0xE000ED88};
inline constexpr Field SCB_CPACR_CP10_CP11{SCB_CPACR, 20, 4};

inline constexpr Register DCB_DHCSR{0xE000EDF0};
inline constexpr Field DCB_DHCSR_C_DEBUGEN{DCB_DHCSR, 0, 1};
inline constexpr Register DCB_DEMCR{0xE000EDFC};
inline constexpr Field DCB_DEMCR_TRCENA{DCB_DEMCR, 24, 1};
inline constexpr Register DWT_CTRL{0xE0001000};
inline constexpr Field DWT_CTRL_CYCCNTENA{DWT_CTRL, 0, 1};
inline constexpr Field DWT_CTRL_NOCYCCNT{DWT_CTRL, 25, 1};
inline constexpr Register DWT_CYCCNT{0xE0001004};

}  // namespace hal::core
