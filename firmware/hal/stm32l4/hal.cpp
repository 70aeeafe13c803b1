// STM32L475: B-L475E-IOT01A.
#include "hal/common/vectors.hpp"
#include "hal/stm32/board.hpp"
#include "hal/stm32/usart_v2.hpp"
#include "hal/stm32l4/registers.hpp"

extern "C" void usart_interrupt();

namespace hal::stm32 {
namespace {

constexpr Port kPortB{reg::GPIOB_MODER, reg::GPIOB_OSPEEDR, reg::GPIOB_PUPDR,        reg::GPIOB_AFRL,
                      reg::GPIOB_AFRH,  reg::GPIOB_BSRR,    reg::RCC_AHB2ENR_GPIOBEN};
constexpr Port kPortD{reg::GPIOD_MODER, reg::GPIOD_OSPEEDR, reg::GPIOD_PUPDR,        reg::GPIOD_AFRL,
                      reg::GPIOD_AFRH,  reg::GPIOD_BSRR,    reg::RCC_AHB2ENR_GPIODEN};

constexpr UsartV2 kUsart1{reg::USART1_ISR,           reg::USART1_ICR,      reg::USART1_RDR,      reg::USART1_TDR,
                          reg::USART1_BRR_DIV,       reg::USART1_CR1_UE,   reg::USART1_CR1_TE,   reg::USART1_CR1_RE,
                          reg::USART1_CR1_RXNEIE,    reg::USART1_ISR_RXNE, reg::USART1_ISR_ORE,  reg::USART1_ISR_NF,
                          reg::USART1_ISR_FE,        reg::USART1_ISR_PE,   reg::USART1_ISR_TXE,  reg::USART1_ISR_TC,
                          reg::USART1_ICR_ORECF,     reg::USART1_ICR_NCF,  reg::USART1_ICR_FECF, reg::USART1_ICR_PECF,
                          reg::RCC_APB2ENR_USART1EN, reg::USART1_IRQ};

// PB6 (TX) and PB7 (RX), USART1, go to the on-board ST-LINK's virtual port; marker on Arduino header D2, PD14. QEMU's
// first serial line.
constexpr Board<UsartV2> kBoards[] = {
    {"b_l475e_iot01a", kUsart1, true, 7, {kPortB, 6}, {kPortB, 7}, {kPortD, 14}},
};
constexpr size_t kIndex = find_board(kBoards, FTTE_ENV);
static_assert(kIndex < sizeof kBoards / sizeof kBoards[0], "FTTE_ENV names no STM32L4 board");
constexpr const Board<UsartV2>& kBoard = kBoards[kIndex];

// There is no flag for power-on alone: the brown-out flag says both (RM0351, RCC_CSR).
constexpr Part kPart{{reg::IWDG_KR, reg::IWDG_PR_PR, reg::IWDG_RLR_RL, reg::IWDG_SR_PVU, reg::IWDG_SR_RVU},
                     reg::DBGMCU_APB1_FZR1_DBG_IWDG_STOP,
                     reg::DBGMCU_CR,
                     reg::RCC_CSR_RMVF,
                     reg::RCC_CSR_BORRSTF,
                     reg::RCC_CSR_BORRSTF,
                     reg::RCC_CSR_PINRSTF,
                     reg::RCC_CSR_SFTRSTF,
                     reg::RCC_CSR_IWDGRSTF,
                     reg::RCC_CSR_WWDGRSTF,
                     reg::kUniqueId};

constexpr uint32_t kInterrupts = 82;
constexpr Vector kVectors[] = {{kBoard.usart.interrupt, usart_interrupt}};

}  // namespace
}  // namespace hal::stm32

FTTE_VECTOR_SECTION const constexpr hal::VectorTable<hal::stm32::kInterrupts> ftte_vectors =
    hal::make_vectors<hal::stm32::kInterrupts>(systick_interrupt, hal::stm32::kVectors);

#include "hal/stm32/hal_stm32.hpp"
