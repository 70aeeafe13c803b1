// Every register and bit of the nRF52840 that this firmware touches, named as in Nordic's SVD file (nRF52840 Product
// Specification v1.7). One definition a line: a test compares them.
#pragma once

#include "hal/common/mmio.hpp"

namespace hal::reg {

inline constexpr Register CLOCK_TASKS_HFCLKSTART{0x40000000};
inline constexpr Register CLOCK_EVENTS_HFCLKSTARTED{0x40000100};

inline constexpr Register POWER_RESETREAS{0x40000400};
inline constexpr Field POWER_RESETREAS_RESETPIN{POWER_RESETREAS, 0, 1};
inline constexpr Field POWER_RESETREAS_DOG{POWER_RESETREAS, 1, 1};
inline constexpr Field POWER_RESETREAS_SREQ{POWER_RESETREAS, 2, 1};
inline constexpr Field POWER_RESETREAS_LOCKUP{POWER_RESETREAS, 3, 1};

// Later than the SVD file: only parts of build code F0 and up have it (nWP-027, and the peripheral's chapter).
inline constexpr Register APPROTECT_DISABLE{0x40000558};

inline constexpr Register UARTE0_TASKS_STARTRX{0x40002000};
inline constexpr Register UARTE0_TASKS_STOPRX{0x40002004};
inline constexpr Register UARTE0_TASKS_STARTTX{0x40002008};
inline constexpr Register UARTE0_TASKS_FLUSHRX{0x4000202C};
inline constexpr Register UARTE0_EVENTS_RXDRDY{0x40002108};
inline constexpr Register UARTE0_EVENTS_ENDRX{0x40002110};
inline constexpr Register UARTE0_EVENTS_ENDTX{0x40002120};
inline constexpr Register UARTE0_EVENTS_ERROR{0x40002124};
inline constexpr Register UARTE0_EVENTS_RXTO{0x40002144};
inline constexpr Register UARTE0_EVENTS_RXSTARTED{0x4000214C};
inline constexpr Register UARTE0_SHORTS{0x40002200};
inline constexpr Field UARTE0_SHORTS_ENDRX_STARTRX{UARTE0_SHORTS, 5, 1};
inline constexpr Register UARTE0_INTENSET{0x40002304};
inline constexpr Field UARTE0_INTENSET_RXDRDY{UARTE0_INTENSET, 2, 1};
inline constexpr Field UARTE0_INTENSET_ERROR{UARTE0_INTENSET, 9, 1};
inline constexpr Field UARTE0_INTENSET_RXSTARTED{UARTE0_INTENSET, 19, 1};
inline constexpr Register UARTE0_INTENCLR{0x40002308};
inline constexpr Field UARTE0_INTENCLR_RXDRDY{UARTE0_INTENCLR, 2, 1};
inline constexpr Register UARTE0_ERRORSRC{0x40002480};
inline constexpr Field UARTE0_ERRORSRC_OVERRUN{UARTE0_ERRORSRC, 0, 1};
inline constexpr Register UARTE0_ENABLE{0x40002500};
inline constexpr Field UARTE0_ENABLE_ENABLE{UARTE0_ENABLE, 0, 4};
inline constexpr Register UARTE0_PSEL_RTS{0x40002508};
inline constexpr Register UARTE0_PSEL_TXD{0x4000250C};
inline constexpr Field UARTE0_PSEL_TXD_PIN{UARTE0_PSEL_TXD, 0, 5};
inline constexpr Field UARTE0_PSEL_TXD_PORT{UARTE0_PSEL_TXD, 5, 1};
inline constexpr Register UARTE0_PSEL_CTS{0x40002510};
inline constexpr Register UARTE0_PSEL_RXD{0x40002514};
inline constexpr Register UARTE0_BAUDRATE{0x40002524};
inline constexpr Register UARTE0_RXD_PTR{0x40002534};
inline constexpr Register UARTE0_RXD_MAXCNT{0x40002538};
inline constexpr Register UARTE0_TXD_PTR{0x40002544};
inline constexpr Register UARTE0_TXD_MAXCNT{0x40002548};
inline constexpr Field UARTE0_TXD_MAXCNT_MAXCNT{UARTE0_TXD_MAXCNT, 0, 16};
inline constexpr Register UARTE0_CONFIG{0x4000256C};
inline constexpr Interrupt UARTE0_UART0_IRQ{2};

inline constexpr Register TIMER1_TASKS_START{0x40009000};
inline constexpr Register TIMER1_TASKS_STOP{0x40009004};
inline constexpr Register TIMER1_TASKS_CLEAR{0x4000900C};
inline constexpr Register TIMER1_TASKS_SHUTDOWN{0x40009010};
inline constexpr Register TIMER1_EVENTS_COMPARE0{0x40009140};
inline constexpr Register TIMER1_INTENSET{0x40009304};
inline constexpr Field TIMER1_INTENSET_COMPARE0{TIMER1_INTENSET, 16, 1};
inline constexpr Register TIMER1_MODE{0x40009504};
inline constexpr Register TIMER1_BITMODE{0x40009508};
inline constexpr Register TIMER1_PRESCALER{0x40009510};
inline constexpr Register TIMER1_CC0{0x40009540};
inline constexpr Interrupt TIMER1_IRQ{9};

inline constexpr Register TIMER2_TASKS_START{0x4000A000};
inline constexpr Register TIMER2_TASKS_STOP{0x4000A004};
inline constexpr Register TIMER2_TASKS_COUNT{0x4000A008};
inline constexpr Register TIMER2_TASKS_CLEAR{0x4000A00C};
inline constexpr Register TIMER2_TASKS_CAPTURE0{0x4000A040};
inline constexpr Register TIMER2_MODE{0x4000A504};
inline constexpr Register TIMER2_BITMODE{0x4000A508};
inline constexpr Register TIMER2_CC0{0x4000A540};

inline constexpr Register WDT_TASKS_START{0x40010000};
inline constexpr Register WDT_CRV{0x40010504};
inline constexpr Register WDT_RREN{0x40010508};
inline constexpr Field WDT_RREN_RR0{WDT_RREN, 0, 1};
inline constexpr Register WDT_CONFIG{0x4001050C};
inline constexpr Field WDT_CONFIG_SLEEP{WDT_CONFIG, 0, 1};
inline constexpr Field WDT_CONFIG_HALT{WDT_CONFIG, 3, 1};
inline constexpr Register WDT_RR0{0x40010600};

inline constexpr Register NVMC_ICACHECNF{0x4001E540};
inline constexpr Field NVMC_ICACHECNF_CACHEEN{NVMC_ICACHECNF, 0, 1};

inline constexpr Register PPI_CHENSET{0x4001F504};
inline constexpr Field PPI_CHENSET_CH0{PPI_CHENSET, 0, 1};
inline constexpr Register PPI_CH0_EEP{0x4001F510};
inline constexpr Register PPI_CH0_TEP{0x4001F514};

inline constexpr Interrupt FPU_IRQ{38};

inline constexpr Register P0_OUTSET{0x50000508};
inline constexpr Register P0_OUTCLR{0x5000050C};
inline constexpr Register P0_DIRSET{0x50000518};
inline constexpr Register P0_PIN_CNF0{0x50000700};
inline constexpr Field P0_PIN_CNF0_DIR{P0_PIN_CNF0, 0, 1};
inline constexpr Field P0_PIN_CNF0_INPUT{P0_PIN_CNF0, 1, 1};
inline constexpr Field P0_PIN_CNF0_PULL{P0_PIN_CNF0, 2, 2};
inline constexpr Register P1_OUTSET{0x50000808};
inline constexpr Register P1_OUTCLR{0x5000080C};
inline constexpr Register P1_DIRSET{0x50000818};
inline constexpr Register P1_PIN_CNF0{0x50000A00};

inline constexpr Register FICR_DEVICEID0{0x10000060};
inline constexpr Register FICR_DEVICEID1{0x10000064};

inline constexpr Register UICR_APPROTECT{0x10001208};
inline constexpr Field UICR_APPROTECT_PALL{UICR_APPROTECT, 0, 8};

}  // namespace hal::reg
