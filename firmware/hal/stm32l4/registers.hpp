// Every register and bit of the STM32L475 that this firmware touches, named as in ST's SVD file (RM0351; the L475 has
// the L4x5's). One definition a line: a test compares them.
#pragma once

#include "hal/common/mmio.hpp"

namespace hal::reg {

inline constexpr Register RCC_CR{0x40021000};
inline constexpr Field RCC_CR_MSION{RCC_CR, 0, 1};
inline constexpr Field RCC_CR_MSIRDY{RCC_CR, 1, 1};
inline constexpr Field RCC_CR_MSIRGSEL{RCC_CR, 3, 1};
inline constexpr Field RCC_CR_MSIRANGE{RCC_CR, 4, 4};
inline constexpr Field RCC_CR_HSION{RCC_CR, 8, 1};
inline constexpr Field RCC_CR_HSIRDY{RCC_CR, 10, 1};
inline constexpr Field RCC_CR_PLLON{RCC_CR, 24, 1};
inline constexpr Field RCC_CR_PLLRDY{RCC_CR, 25, 1};
inline constexpr Register RCC_CFGR{0x40021008};
inline constexpr Field RCC_CFGR_SW{RCC_CFGR, 0, 2};
inline constexpr Field RCC_CFGR_SWS{RCC_CFGR, 2, 2};
inline constexpr Register RCC_PLLCFGR{0x4002100C};
inline constexpr Field RCC_PLLCFGR_PLLSRC{RCC_PLLCFGR, 0, 2};
inline constexpr Field RCC_PLLCFGR_PLLM{RCC_PLLCFGR, 4, 3};
inline constexpr Field RCC_PLLCFGR_PLLN{RCC_PLLCFGR, 8, 7};
inline constexpr Field RCC_PLLCFGR_PLLREN{RCC_PLLCFGR, 24, 1};
inline constexpr Field RCC_PLLCFGR_PLLR{RCC_PLLCFGR, 25, 2};
inline constexpr Register RCC_AHB2ENR{0x4002104C};
inline constexpr Field RCC_AHB2ENR_GPIOBEN{RCC_AHB2ENR, 1, 1};
inline constexpr Field RCC_AHB2ENR_GPIODEN{RCC_AHB2ENR, 3, 1};
inline constexpr Register RCC_APB1ENR1{0x40021058};
inline constexpr Field RCC_APB1ENR1_PWREN{RCC_APB1ENR1, 28, 1};
inline constexpr Register RCC_APB2ENR{0x40021060};
inline constexpr Field RCC_APB2ENR_USART1EN{RCC_APB2ENR, 14, 1};
inline constexpr Register RCC_CSR{0x40021094};
inline constexpr Field RCC_CSR_RMVF{RCC_CSR, 23, 1};
inline constexpr Field RCC_CSR_PINRSTF{RCC_CSR, 26, 1};
inline constexpr Field RCC_CSR_BORRSTF{RCC_CSR, 27, 1};
inline constexpr Field RCC_CSR_SFTRSTF{RCC_CSR, 28, 1};
inline constexpr Field RCC_CSR_IWDGRSTF{RCC_CSR, 29, 1};
inline constexpr Field RCC_CSR_WWDGRSTF{RCC_CSR, 30, 1};

inline constexpr Register PWR_CR1{0x40007000};
inline constexpr Field PWR_CR1_VOS{PWR_CR1, 9, 2};
inline constexpr Register PWR_SR2{0x40007014};
inline constexpr Field PWR_SR2_VOSF{PWR_SR2, 10, 1};

inline constexpr Register FLASH_ACR{0x40022000};
inline constexpr Field FLASH_ACR_LATENCY{FLASH_ACR, 0, 3};
inline constexpr Field FLASH_ACR_PRFTEN{FLASH_ACR, 8, 1};
inline constexpr Field FLASH_ACR_ICEN{FLASH_ACR, 9, 1};
inline constexpr Field FLASH_ACR_DCEN{FLASH_ACR, 10, 1};

inline constexpr Register GPIOB_MODER{0x48000400};
inline constexpr Register GPIOB_OSPEEDR{0x48000408};
inline constexpr Register GPIOB_PUPDR{0x4800040C};
inline constexpr Register GPIOB_BSRR{0x48000418};
inline constexpr Register GPIOB_AFRL{0x48000420};
inline constexpr Register GPIOB_AFRH{0x48000424};
inline constexpr Register GPIOD_MODER{0x48000C00};
inline constexpr Register GPIOD_OSPEEDR{0x48000C08};
inline constexpr Register GPIOD_PUPDR{0x48000C0C};
inline constexpr Register GPIOD_BSRR{0x48000C18};
inline constexpr Register GPIOD_AFRL{0x48000C20};
inline constexpr Register GPIOD_AFRH{0x48000C24};

inline constexpr Register USART1_CR1{0x40013800};
inline constexpr Field USART1_CR1_UE{USART1_CR1, 0, 1};
inline constexpr Field USART1_CR1_RE{USART1_CR1, 2, 1};
inline constexpr Field USART1_CR1_TE{USART1_CR1, 3, 1};
inline constexpr Field USART1_CR1_RXNEIE{USART1_CR1, 5, 1};
inline constexpr Register USART1_BRR{0x4001380C};
inline constexpr Field USART1_BRR_DIV{USART1_BRR, 0, 16};
inline constexpr Register USART1_ISR{0x4001381C};
inline constexpr Field USART1_ISR_PE{USART1_ISR, 0, 1};
inline constexpr Field USART1_ISR_FE{USART1_ISR, 1, 1};
inline constexpr Field USART1_ISR_NF{USART1_ISR, 2, 1};
inline constexpr Field USART1_ISR_ORE{USART1_ISR, 3, 1};
inline constexpr Field USART1_ISR_RXNE{USART1_ISR, 5, 1};
inline constexpr Field USART1_ISR_TC{USART1_ISR, 6, 1};
inline constexpr Field USART1_ISR_TXE{USART1_ISR, 7, 1};
inline constexpr Register USART1_ICR{0x40013820};
inline constexpr Field USART1_ICR_PECF{USART1_ICR, 0, 1};
inline constexpr Field USART1_ICR_FECF{USART1_ICR, 1, 1};
inline constexpr Field USART1_ICR_NCF{USART1_ICR, 2, 1};
inline constexpr Field USART1_ICR_ORECF{USART1_ICR, 3, 1};
inline constexpr Register USART1_RDR{0x40013824};
inline constexpr Register USART1_TDR{0x40013828};
inline constexpr Interrupt USART1_IRQ{37};

inline constexpr Register IWDG_KR{0x40003000};
inline constexpr Field IWDG_KR_KEY{IWDG_KR, 0, 16};
inline constexpr Register IWDG_PR{0x40003004};
inline constexpr Field IWDG_PR_PR{IWDG_PR, 0, 3};
inline constexpr Register IWDG_RLR{0x40003008};
inline constexpr Field IWDG_RLR_RL{IWDG_RLR, 0, 12};
inline constexpr Register IWDG_SR{0x4000300C};
inline constexpr Field IWDG_SR_PVU{IWDG_SR, 0, 1};
inline constexpr Field IWDG_SR_RVU{IWDG_SR, 1, 1};

inline constexpr Register DBGMCU_CR{0xE0042004};
inline constexpr Register DBGMCU_APB1_FZR1{0xE0042008};
inline constexpr Field DBGMCU_APB1_FZR1_DBG_IWDG_STOP{DBGMCU_APB1_FZR1, 12, 1};

// No register, so in no SVD file: the unique device id, 96 bits (RM0351, chapter Device electronic signature).
inline constexpr uint32_t kUniqueId = 0x1FFF7590;

}  // namespace hal::reg
