// Every register and bit of the STM32F405, F412 and F429 that this firmware touches, named as in ST's SVD file (RM0090,
// RM0402). One definition a line: a test compares them.
#pragma once

#include "hal/common/mmio.hpp"

namespace hal::reg {

inline constexpr Register RCC_CR{0x40023800};
inline constexpr Field RCC_CR_HSION{RCC_CR, 0, 1};
inline constexpr Field RCC_CR_HSIRDY{RCC_CR, 1, 1};
inline constexpr Field RCC_CR_HSEON{RCC_CR, 16, 1};
inline constexpr Field RCC_CR_HSERDY{RCC_CR, 17, 1};
inline constexpr Field RCC_CR_HSEBYP{RCC_CR, 18, 1};
inline constexpr Field RCC_CR_PLLON{RCC_CR, 24, 1};
inline constexpr Field RCC_CR_PLLRDY{RCC_CR, 25, 1};
inline constexpr Register RCC_PLLCFGR{0x40023804};
inline constexpr Field RCC_PLLCFGR_PLLM{RCC_PLLCFGR, 0, 6};
inline constexpr Field RCC_PLLCFGR_PLLN{RCC_PLLCFGR, 6, 9};
inline constexpr Field RCC_PLLCFGR_PLLP{RCC_PLLCFGR, 16, 2};
inline constexpr Field RCC_PLLCFGR_PLLSRC{RCC_PLLCFGR, 22, 1};
inline constexpr Field RCC_PLLCFGR_PLLQ{RCC_PLLCFGR, 24, 4};
inline constexpr Register RCC_CFGR{0x40023808};
inline constexpr Field RCC_CFGR_SW{RCC_CFGR, 0, 2};
inline constexpr Field RCC_CFGR_SWS{RCC_CFGR, 2, 2};
inline constexpr Field RCC_CFGR_PPRE1{RCC_CFGR, 10, 3};
inline constexpr Field RCC_CFGR_PPRE2{RCC_CFGR, 13, 3};
inline constexpr Register RCC_AHB1ENR{0x40023830};
inline constexpr Field RCC_AHB1ENR_GPIOAEN{RCC_AHB1ENR, 0, 1};
inline constexpr Field RCC_AHB1ENR_GPIOCEN{RCC_AHB1ENR, 2, 1};
inline constexpr Field RCC_AHB1ENR_GPIODEN{RCC_AHB1ENR, 3, 1};
inline constexpr Field RCC_AHB1ENR_GPIOFEN{RCC_AHB1ENR, 5, 1};
inline constexpr Register RCC_APB1ENR{0x40023840};
inline constexpr Field RCC_APB1ENR_USART2EN{RCC_APB1ENR, 17, 1};
inline constexpr Field RCC_APB1ENR_USART3EN{RCC_APB1ENR, 18, 1};
inline constexpr Field RCC_APB1ENR_PWREN{RCC_APB1ENR, 28, 1};
inline constexpr Register RCC_APB2ENR{0x40023844};
inline constexpr Field RCC_APB2ENR_USART6EN{RCC_APB2ENR, 5, 1};
inline constexpr Register RCC_CSR{0x40023874};
inline constexpr Field RCC_CSR_RMVF{RCC_CSR, 24, 1};
inline constexpr Field RCC_CSR_BORRSTF{RCC_CSR, 25, 1};
inline constexpr Field RCC_CSR_PADRSTF{RCC_CSR, 26, 1};
inline constexpr Field RCC_CSR_PORRSTF{RCC_CSR, 27, 1};
inline constexpr Field RCC_CSR_SFTRSTF{RCC_CSR, 28, 1};
inline constexpr Field RCC_CSR_WDGRSTF{RCC_CSR, 29, 1};
inline constexpr Field RCC_CSR_WWDGRSTF{RCC_CSR, 30, 1};

inline constexpr Register PWR_CR{0x40007000};
inline constexpr Field PWR_CR_VOS{PWR_CR, 14, 1};
inline constexpr Register PWR_CSR{0x40007004};
inline constexpr Field PWR_CSR_VOSRDY{PWR_CSR, 14, 1};

inline constexpr Register FLASH_ACR{0x40023C00};
inline constexpr Field FLASH_ACR_LATENCY{FLASH_ACR, 0, 3};
inline constexpr Field FLASH_ACR_PRFTEN{FLASH_ACR, 8, 1};
inline constexpr Field FLASH_ACR_ICEN{FLASH_ACR, 9, 1};
inline constexpr Field FLASH_ACR_DCEN{FLASH_ACR, 10, 1};

inline constexpr Register GPIOA_MODER{0x40020000};
inline constexpr Register GPIOA_OSPEEDR{0x40020008};
inline constexpr Register GPIOA_PUPDR{0x4002000C};
inline constexpr Register GPIOA_BSRR{0x40020018};
inline constexpr Register GPIOA_AFRL{0x40020020};
inline constexpr Register GPIOA_AFRH{0x40020024};
inline constexpr Register GPIOC_MODER{0x40020800};
inline constexpr Register GPIOC_OSPEEDR{0x40020808};
inline constexpr Register GPIOC_PUPDR{0x4002080C};
inline constexpr Register GPIOC_BSRR{0x40020818};
inline constexpr Register GPIOC_AFRL{0x40020820};
inline constexpr Register GPIOC_AFRH{0x40020824};
inline constexpr Register GPIOD_MODER{0x40020C00};
inline constexpr Register GPIOD_OSPEEDR{0x40020C08};
inline constexpr Register GPIOD_PUPDR{0x40020C0C};
inline constexpr Register GPIOD_BSRR{0x40020C18};
inline constexpr Register GPIOD_AFRL{0x40020C20};
inline constexpr Register GPIOD_AFRH{0x40020C24};
inline constexpr Register GPIOF_MODER{0x40021400};
inline constexpr Register GPIOF_OSPEEDR{0x40021408};
inline constexpr Register GPIOF_PUPDR{0x4002140C};
inline constexpr Register GPIOF_BSRR{0x40021418};
inline constexpr Register GPIOF_AFRL{0x40021420};
inline constexpr Register GPIOF_AFRH{0x40021424};

inline constexpr Register USART2_SR{0x40004400};
inline constexpr Field USART2_SR_PE{USART2_SR, 0, 1};
inline constexpr Field USART2_SR_FE{USART2_SR, 1, 1};
inline constexpr Field USART2_SR_NF{USART2_SR, 2, 1};
inline constexpr Field USART2_SR_ORE{USART2_SR, 3, 1};
inline constexpr Field USART2_SR_RXNE{USART2_SR, 5, 1};
inline constexpr Field USART2_SR_TC{USART2_SR, 6, 1};
inline constexpr Field USART2_SR_TXE{USART2_SR, 7, 1};
inline constexpr Register USART2_DR{0x40004404};
inline constexpr Register USART2_BRR{0x40004408};
inline constexpr Field USART2_BRR_DIV{USART2_BRR, 0, 16};
inline constexpr Register USART2_CR1{0x4000440C};
inline constexpr Field USART2_CR1_RE{USART2_CR1, 2, 1};
inline constexpr Field USART2_CR1_TE{USART2_CR1, 3, 1};
inline constexpr Field USART2_CR1_RXNEIE{USART2_CR1, 5, 1};
inline constexpr Field USART2_CR1_UE{USART2_CR1, 13, 1};
inline constexpr Interrupt USART2_IRQ{38};

inline constexpr Register USART3_SR{0x40004800};
inline constexpr Field USART3_SR_PE{USART3_SR, 0, 1};
inline constexpr Field USART3_SR_FE{USART3_SR, 1, 1};
inline constexpr Field USART3_SR_NF{USART3_SR, 2, 1};
inline constexpr Field USART3_SR_ORE{USART3_SR, 3, 1};
inline constexpr Field USART3_SR_RXNE{USART3_SR, 5, 1};
inline constexpr Field USART3_SR_TC{USART3_SR, 6, 1};
inline constexpr Field USART3_SR_TXE{USART3_SR, 7, 1};
inline constexpr Register USART3_DR{0x40004804};
inline constexpr Register USART3_BRR{0x40004808};
inline constexpr Field USART3_BRR_DIV{USART3_BRR, 0, 16};
inline constexpr Register USART3_CR1{0x4000480C};
inline constexpr Field USART3_CR1_RE{USART3_CR1, 2, 1};
inline constexpr Field USART3_CR1_TE{USART3_CR1, 3, 1};
inline constexpr Field USART3_CR1_RXNEIE{USART3_CR1, 5, 1};
inline constexpr Field USART3_CR1_UE{USART3_CR1, 13, 1};
inline constexpr Interrupt USART3_IRQ{39};

inline constexpr Register USART6_SR{0x40011400};
inline constexpr Field USART6_SR_PE{USART6_SR, 0, 1};
inline constexpr Field USART6_SR_FE{USART6_SR, 1, 1};
inline constexpr Field USART6_SR_NF{USART6_SR, 2, 1};
inline constexpr Field USART6_SR_ORE{USART6_SR, 3, 1};
inline constexpr Field USART6_SR_RXNE{USART6_SR, 5, 1};
inline constexpr Field USART6_SR_TC{USART6_SR, 6, 1};
inline constexpr Field USART6_SR_TXE{USART6_SR, 7, 1};
inline constexpr Register USART6_DR{0x40011404};
inline constexpr Register USART6_BRR{0x40011408};
inline constexpr Field USART6_BRR_DIV{USART6_BRR, 0, 16};
inline constexpr Register USART6_CR1{0x4001140C};
inline constexpr Field USART6_CR1_RE{USART6_CR1, 2, 1};
inline constexpr Field USART6_CR1_TE{USART6_CR1, 3, 1};
inline constexpr Field USART6_CR1_RXNEIE{USART6_CR1, 5, 1};
inline constexpr Field USART6_CR1_UE{USART6_CR1, 13, 1};
inline constexpr Interrupt USART6_IRQ{71};

inline constexpr Register IWDG_KR{0x40003000};
inline constexpr Field IWDG_KR_KEY{IWDG_KR, 0, 16};
inline constexpr Register IWDG_PR{0x40003004};
inline constexpr Field IWDG_PR_PR{IWDG_PR, 0, 3};
inline constexpr Register IWDG_RLR{0x40003008};
inline constexpr Field IWDG_RLR_RL{IWDG_RLR, 0, 12};
inline constexpr Register IWDG_SR{0x4000300C};
inline constexpr Field IWDG_SR_PVU{IWDG_SR, 0, 1};
inline constexpr Field IWDG_SR_RVU{IWDG_SR, 1, 1};

inline constexpr Register DBG_DBGMCU_CR{0xE0042004};
inline constexpr Register DBG_DBGMCU_APB1_FZ{0xE0042008};
inline constexpr Field DBG_DBGMCU_APB1_FZ_DBG_IWDEG_STOP{DBG_DBGMCU_APB1_FZ, 12, 1};  // sic

// No register, so in no SVD file: the unique device id, 96 bits (RM0090, chapter Device electronic signature).
inline constexpr uint32_t kUniqueId = 0x1FFF7A10;

}  // namespace hal::reg
