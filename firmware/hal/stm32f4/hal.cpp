// STM32F405: Netduino Plus 2 and Olimex STM32-H405. STM32F412 and F429: two NUCLEO-144 boards.
#include "hal/common/vectors.hpp"
#include "hal/stm32/board.hpp"
#include "hal/stm32/usart_v1.hpp"
#include "hal/stm32f4/registers.hpp"

extern "C" void usart_interrupt();

namespace hal::stm32 {
namespace {

constexpr Port kPortA{reg::GPIOA_MODER, reg::GPIOA_OSPEEDR, reg::GPIOA_PUPDR,        reg::GPIOA_AFRL,
                      reg::GPIOA_AFRH,  reg::GPIOA_BSRR,    reg::RCC_AHB1ENR_GPIOAEN};
constexpr Port kPortC{reg::GPIOC_MODER, reg::GPIOC_OSPEEDR, reg::GPIOC_PUPDR,        reg::GPIOC_AFRL,
                      reg::GPIOC_AFRH,  reg::GPIOC_BSRR,    reg::RCC_AHB1ENR_GPIOCEN};
constexpr Port kPortD{reg::GPIOD_MODER, reg::GPIOD_OSPEEDR, reg::GPIOD_PUPDR,        reg::GPIOD_AFRL,
                      reg::GPIOD_AFRH,  reg::GPIOD_BSRR,    reg::RCC_AHB1ENR_GPIODEN};
constexpr Port kPortF{reg::GPIOF_MODER, reg::GPIOF_OSPEEDR, reg::GPIOF_PUPDR,        reg::GPIOF_AFRL,
                      reg::GPIOF_AFRH,  reg::GPIOF_BSRR,    reg::RCC_AHB1ENR_GPIOFEN};

constexpr UsartV1 kUsart2{reg::USART2_SR,     reg::USART2_DR,     reg::USART2_BRR_DIV,       reg::USART2_CR1_UE,
                          reg::USART2_CR1_TE, reg::USART2_CR1_RE, reg::USART2_CR1_RXNEIE,    reg::USART2_SR_RXNE,
                          reg::USART2_SR_ORE, reg::USART2_SR_NF,  reg::USART2_SR_FE,         reg::USART2_SR_PE,
                          reg::USART2_SR_TXE, reg::USART2_SR_TC,  reg::RCC_APB1ENR_USART2EN, reg::USART2_IRQ};
constexpr UsartV1 kUsart3{reg::USART3_SR,     reg::USART3_DR,     reg::USART3_BRR_DIV,       reg::USART3_CR1_UE,
                          reg::USART3_CR1_TE, reg::USART3_CR1_RE, reg::USART3_CR1_RXNEIE,    reg::USART3_SR_RXNE,
                          reg::USART3_SR_ORE, reg::USART3_SR_NF,  reg::USART3_SR_FE,         reg::USART3_SR_PE,
                          reg::USART3_SR_TXE, reg::USART3_SR_TC,  reg::RCC_APB1ENR_USART3EN, reg::USART3_IRQ};
constexpr UsartV1 kUsart6{reg::USART6_SR,     reg::USART6_DR,     reg::USART6_BRR_DIV,       reg::USART6_CR1_UE,
                          reg::USART6_CR1_TE, reg::USART6_CR1_RE, reg::USART6_CR1_RXNEIE,    reg::USART6_SR_RXNE,
                          reg::USART6_SR_ORE, reg::USART6_SR_NF,  reg::USART6_SR_FE,         reg::USART6_SR_PE,
                          reg::USART6_SR_TXE, reg::USART6_SR_TC,  reg::RCC_APB2ENR_USART6EN, reg::USART6_IRQ};

// Netduino Plus 2: header D1 (TX) and D0 (RX) are PC6 and PC7, USART6; marker on D7, PA1. QEMU's sixth serial line.
// Olimex: header EXT2 pins 7 (TX) and 10 (RX) are PA2 and PA3, USART2; marker on EXT1 pin 10, PC12, which is also the
// LED (lit while the marker is low). QEMU's second serial line.
// NUCLEO-144: PD8 (TX) and PD9 (RX), USART3, go to the ST-LINK's virtual port; marker on header D2, PF15.
constexpr Board<UsartV1> kBoards[] = {
    {"netduinoplus2", kUsart6, true, 8, {kPortC, 6}, {kPortC, 7}, {kPortA, 1}},
    {"olimex_stm32_h405", kUsart2, false, 7, {kPortA, 2}, {kPortA, 3}, {kPortC, 12}},
    {"nucleo_f412zg", kUsart3, false, 7, {kPortD, 8}, {kPortD, 9}, {kPortF, 15}},
    {"nucleo_f429zi", kUsart3, false, 7, {kPortD, 8}, {kPortD, 9}, {kPortF, 15}},
};
constexpr size_t kIndex = find_board(kBoards, FTTE_ENV);
static_assert(kIndex < sizeof kBoards / sizeof kBoards[0], "FTTE_ENV names no STM32F4 board");
constexpr const Board<UsartV1>& kBoard = kBoards[kIndex];

constexpr Part kPart{{reg::IWDG_KR, reg::IWDG_PR_PR, reg::IWDG_RLR_RL, reg::IWDG_SR_PVU, reg::IWDG_SR_RVU},
                     reg::DBG_DBGMCU_APB1_FZ_DBG_IWDEG_STOP,
                     reg::DBG_DBGMCU_CR,
                     reg::RCC_CSR_RMVF,
                     reg::RCC_CSR_PORRSTF,
                     reg::RCC_CSR_BORRSTF,
                     reg::RCC_CSR_PADRSTF,
                     reg::RCC_CSR_SFTRSTF,
                     reg::RCC_CSR_WDGRSTF,
                     reg::RCC_CSR_WWDGRSTF,
                     reg::kUniqueId};

constexpr uint32_t kInterrupts = 97;  // the F412's, the most
constexpr Vector kVectors[] = {{kBoard.usart.interrupt, usart_interrupt}};

}  // namespace
}  // namespace hal::stm32

FTTE_VECTOR_SECTION const constexpr hal::VectorTable<hal::stm32::kInterrupts> ftte_vectors =
    hal::make_vectors<hal::stm32::kInterrupts>(systick_interrupt, hal::stm32::kVectors);

#include "hal/stm32/hal_stm32.hpp"
