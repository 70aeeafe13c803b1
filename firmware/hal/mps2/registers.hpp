// Registers of the MPS2+ FPGA images' console: CMSDK APB UART (Arm DDI 0479, Cortex-M System Design Kit, section 4.3).
//
// Base addresses and interrupts: application notes DAI 0385 (AN385, AN386), DAI 0500 (AN500), section "Memory map" and
// "Interrupts"; DAI 0505 (AN505), section "Secure memory map": the image boots in the Secure state. No SVD file of
// these images ships with pyOCD.
#pragma once

#include "hal/common/mmio.hpp"

namespace hal::mps2::reg {

#if defined(FTTE_MPS2_SECURE)
inline constexpr uint32_t kUart0 = 0x50200000;
inline constexpr Interrupt UART0_RX_IRQ{32};
#else
inline constexpr uint32_t kUart0 = 0x40004000;
inline constexpr Interrupt UART0_RX_IRQ{0};
#endif

inline constexpr Register UART_DATA{kUart0 + 0x000};
inline constexpr Register UART_STATE{kUart0 + 0x004};
inline constexpr Field UART_STATE_TXFULL{UART_STATE, 0, 1};
inline constexpr Field UART_STATE_RXFULL{UART_STATE, 1, 1};
inline constexpr Field UART_STATE_RXOVERRUN{UART_STATE, 3, 1};
inline constexpr Register UART_CTRL{kUart0 + 0x008};
inline constexpr Field UART_CTRL_TXENABLE{UART_CTRL, 0, 1};
inline constexpr Field UART_CTRL_RXENABLE{UART_CTRL, 1, 1};
inline constexpr Field UART_CTRL_RXINTEN{UART_CTRL, 3, 1};
inline constexpr Register UART_INTCLEAR{kUart0 + 0x00C};
inline constexpr Field UART_INTCLEAR_RX{UART_INTCLEAR, 1, 1};
inline constexpr Register UART_BAUDDIV{kUart0 + 0x010};

}  // namespace hal::mps2::reg
