// Every register and bit of the nRF51822 that this firmware touches, named as in Nordic's SVD file (nRF51 Series
// Reference Manual v3.0.1). One definition a line: a test compares them.
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
inline constexpr Register POWER_RAMON{0x40000524};
inline constexpr Field POWER_RAMON_ONRAM0{POWER_RAMON, 0, 1};
inline constexpr Field POWER_RAMON_ONRAM1{POWER_RAMON, 1, 1};

inline constexpr Register UART0_TASKS_STARTRX{0x40002000};
inline constexpr Register UART0_TASKS_STARTTX{0x40002008};
inline constexpr Register UART0_EVENTS_RXDRDY{0x40002108};
inline constexpr Register UART0_EVENTS_TXDRDY{0x4000211C};
inline constexpr Register UART0_EVENTS_ERROR{0x40002124};
inline constexpr Register UART0_INTENSET{0x40002304};
inline constexpr Field UART0_INTENSET_RXDRDY{UART0_INTENSET, 2, 1};
inline constexpr Field UART0_INTENSET_ERROR{UART0_INTENSET, 9, 1};
inline constexpr Register UART0_ERRORSRC{0x40002480};
inline constexpr Field UART0_ERRORSRC_OVERRUN{UART0_ERRORSRC, 0, 1};
inline constexpr Register UART0_ENABLE{0x40002500};
inline constexpr Field UART0_ENABLE_ENABLE{UART0_ENABLE, 0, 3};
inline constexpr Register UART0_PSELRTS{0x40002508};
inline constexpr Register UART0_PSELTXD{0x4000250C};
inline constexpr Register UART0_PSELCTS{0x40002510};
inline constexpr Register UART0_PSELRXD{0x40002514};
inline constexpr Register UART0_RXD{0x40002518};
inline constexpr Register UART0_TXD{0x4000251C};
inline constexpr Register UART0_BAUDRATE{0x40002524};
inline constexpr Register UART0_CONFIG{0x4000256C};
inline constexpr Interrupt UART0_IRQ{2};

inline constexpr Register TIMER0_TASKS_START{0x40008000};
inline constexpr Register TIMER0_TASKS_STOP{0x40008004};
inline constexpr Register TIMER0_TASKS_CLEAR{0x4000800C};
inline constexpr Register TIMER0_TASKS_CAPTURE0{0x40008040};
inline constexpr Register TIMER0_MODE{0x40008504};
inline constexpr Register TIMER0_BITMODE{0x40008508};
inline constexpr Register TIMER0_PRESCALER{0x40008510};
inline constexpr Register TIMER0_CC0{0x40008540};
inline constexpr Register TIMER1_TASKS_START{0x40009000};
inline constexpr Register TIMER1_TASKS_STOP{0x40009004};
inline constexpr Register TIMER1_TASKS_CLEAR{0x4000900C};
inline constexpr Register TIMER1_EVENTS_COMPARE0{0x40009140};
inline constexpr Register TIMER1_INTENSET{0x40009304};
inline constexpr Field TIMER1_INTENSET_COMPARE0{TIMER1_INTENSET, 16, 1};
inline constexpr Register TIMER1_MODE{0x40009504};
inline constexpr Register TIMER1_BITMODE{0x40009508};
inline constexpr Register TIMER1_PRESCALER{0x40009510};
inline constexpr Register TIMER1_CC0{0x40009540};
inline constexpr Interrupt TIMER1_IRQ{9};

inline constexpr Register WDT_TASKS_START{0x40010000};
inline constexpr Register WDT_CRV{0x40010504};
inline constexpr Register WDT_RREN{0x40010508};
inline constexpr Field WDT_RREN_RR0{WDT_RREN, 0, 1};
inline constexpr Register WDT_CONFIG{0x4001050C};
inline constexpr Field WDT_CONFIG_SLEEP{WDT_CONFIG, 0, 1};
inline constexpr Field WDT_CONFIG_HALT{WDT_CONFIG, 3, 1};
inline constexpr Register WDT_RR0{0x40010600};

inline constexpr Register GPIO_OUTSET{0x50000508};
inline constexpr Register GPIO_OUTCLR{0x5000050C};
inline constexpr Register GPIO_DIRSET{0x50000518};

inline constexpr Register GPIO_PIN_CNF24{0x50000760};
inline constexpr Register GPIO_PIN_CNF25{0x50000764};
inline constexpr Field GPIO_PIN_CNF25_DIR{GPIO_PIN_CNF25, 0, 1};
inline constexpr Field GPIO_PIN_CNF25_INPUT{GPIO_PIN_CNF25, 1, 1};
inline constexpr Field GPIO_PIN_CNF25_PULL{GPIO_PIN_CNF25, 2, 2};

inline constexpr Register FICR_DEVICEID0{0x10000060};
inline constexpr Register FICR_DEVICEID1{0x10000064};

}  // namespace hal::reg
