// STM32F205: Netduino 2.
#include "hal/common/vectors.hpp"
#include "hal/stm32/board.hpp"
#include "hal/stm32/usart_v1.hpp"
#include "hal/stm32f2/registers.hpp"

extern "C" void usart_interrupt();

namespace hal::stm32 {
namespace {

constexpr Port kPortA{reg::GPIOA_MODER, reg::GPIOA_OSPEEDR, reg::GPIOA_PUPDR,        reg::GPIOA_AFRL,
                      reg::GPIOA_AFRH,  reg::GPIOA_BSRR,    reg::RCC_AHB1ENR_GPIOAEN};
constexpr Port kPortC{reg::GPIOC_MODER, reg::GPIOC_OSPEEDR, reg::GPIOC_PUPDR,        reg::GPIOC_AFRL,
                      reg::GPIOC_AFRH,  reg::GPIOC_BSRR,    reg::RCC_AHB1ENR_GPIOCEN};

constexpr UsartV1 kUsart6{reg::USART6_SR,     reg::USART6_DR,     reg::USART6_BRR_DIV,       reg::USART6_CR1_UE,
                          reg::USART6_CR1_TE, reg::USART6_CR1_RE, reg::USART6_CR1_RXNEIE,    reg::USART6_SR_RXNE,
                          reg::USART6_SR_ORE, reg::USART6_SR_NF,  reg::USART6_SR_FE,         reg::USART6_SR_PE,
                          reg::USART6_SR_TXE, reg::USART6_SR_TC,  reg::RCC_APB2ENR_USART6EN, reg::USART6_IRQ};

// Header D1 (TX) and D0 (RX) are PC6 and PC7, USART6, as on the Netduino Plus 2, whose layout is the same; marker on
// D7, PA1. QEMU's sixth serial line.
constexpr Board<UsartV1> kBoards[] = {
    {"netduino2", kUsart6, true, 8, {kPortC, 6}, {kPortC, 7}, {kPortA, 1}},
};
constexpr size_t kIndex = find_board(kBoards, FTTE_ENV);
static_assert(kIndex < sizeof kBoards / sizeof kBoards[0], "FTTE_ENV names no STM32F2 board");
constexpr const Board<UsartV1>& kBoard = kBoards[kIndex];

constexpr Part kPart{{reg::IWDG_KR, reg::IWDG_PR_PR, reg::IWDG_RLR_RL, reg::IWDG_SR_PVU, reg::IWDG_SR_RVU},
                     reg::DBG_DBGMCU_APB1_FZ_DBG_IWDEG_STOP,
                     reg::DBG_DBGMCU_CR,
                     reg::RCC_CSR_RMVF,
                     reg::RCC_CSR_PORRSTF,
                     reg::RCC_CSR_BORRSTF,
                     reg::RCC_CSR_PINRSTF,
                     reg::RCC_CSR_SFTRSTF,
                     reg::RCC_CSR_WDGRSTF,
                     reg::RCC_CSR_WWDGRSTF,
                     reg::kUniqueId};

constexpr uint32_t kInterrupts = 81;
constexpr Vector kVectors[] = {{kBoard.usart.interrupt, usart_interrupt}};

}  // namespace
}  // namespace hal::stm32

FTTE_VECTOR_SECTION const constexpr hal::VectorTable<hal::stm32::kInterrupts> ftte_vectors =
    hal::make_vectors<hal::stm32::kInterrupts>(systick_interrupt, hal::stm32::kVectors);

#include "hal/stm32/hal_stm32.hpp"
