// A small image for the tests of the virtual boards: no HAL, no library. It says "boot", then echoes what it receives.
// The byte 1 is an escape: "1 r" resets the core, "1 c" runs a counted stretch of code and says "done", "1 f" faults.
#include <stdint.h>

#define REG(address) (*(volatile uint32_t*)(address))

enum { kEscape = 1 };

extern uint32_t stack_top[], phase_start[], phase_end[];
void reset_handler(void);
void run_counted(void);

uint32_t phase_word;
volatile uint32_t received;                              // bytes so far
uint32_t resets[2] __attribute__((section(".noinit")));  // RAM that a reset does not touch: how often, and ~how often

__attribute__((section(".vectors"), used)) static const void* const kVectors[16] = {stack_top, reset_handler};

// As firmware/src/image.hpp lays it out; only what the counter reads is filled in.
struct descriptor {
  char magic[8];
  uint32_t size;
  uint8_t skipped[4 + 4 + 16];
  char env[24];
  uint8_t plan_id[8];
  uint32_t words[13];
  const void *phase_function, *phase_function_end, *phase_word;
};
__attribute__((section(".descriptor"), used)) static const struct descriptor kDescriptor = {
    {'F', 'T', 'T', 'E', 'I', 'M', 'G', '1'},
    sizeof(struct descriptor),
    {0},
    "probe",
    {0},
    {0},
    phase_start,
    phase_end,
    &phase_word};

#if defined(COUNTED_CALL)
#define COUNTED "bl " COUNTED_CALL
#else
#define COUNTED "ldr r2, =" COUNT "\n1: subs r2, #1\n bne 1b"
#endif

// After the store that begins "train": bx, ldr, 2 * COUNT, movs, bl, ldr, str; in "evaluate": bx, movs, bl, ldr, str.
__asm__(
    ".syntax unified\n.thumb\n"
    ".section .phase,\"ax\"\n.global set_phase\n.type set_phase, %function\n.thumb_func\n"
    "set_phase: ldr r1, =phase_word\n str r0, [r1]\n bx lr\n .ltorg\n"
    ".text\n.global run_counted\n.type run_counted, %function\n.thumb_func\n"
    "run_counted: push {r4, lr}\n movs r0, #3\n bl set_phase\n " COUNTED
    "\n movs r0, #4\n bl set_phase\n movs r0, #1\n bl set_phase\n pop {r4, pc}\n .ltorg\n");

// Interrupts stay masked: a pending one ends WFI all the same, so that a waiting board leaves the processor to others.
#if defined(UART_NRF52)
static volatile uint8_t incoming, outgoing;
static void uart_start(void) {
  REG(UART + 0x500) = 8;
  REG(UART + 0x524) = 0x10000000;  // 1 MBaud
  REG(UART + 0x534) = (uint32_t)&incoming;
  REG(UART + 0x538) = 1;
  REG(UART + 0x544) = (uint32_t)&outgoing;
  REG(UART + 0x548) = 1;
  REG(UART + 0x304) = 1 << 4;  // ENDRX
  REG(UART + 0x000) = 1;
}
static int uart_waiting(void) { return REG(UART + 0x110) != 0; }
static uint8_t uart_take(void) {
  const uint8_t byte = incoming;
  REG(UART + 0x110) = 0;
  REG(UART + 0x000) = 1;
  return byte;
}
static void uart_put(uint8_t byte) {
  outgoing = byte;
  REG(UART + 0x120) = 0;
  REG(UART + 0x008) = 1;
  while (REG(UART + 0x120) == 0) {
  }
}
#elif defined(UART_NRF51)
static void uart_start(void) {
  REG(UART + 0x500) = 4;
  REG(UART + 0x304) = 1 << 2;  // RXDRDY
  REG(UART + 0x000) = 1;
  REG(UART + 0x008) = 1;
  REG(0x40008508) = 3;  // TIMER0: one that starts wakes QEMU's main loop, which a receiver that starts does not
  REG(0x40008540) = 16000;
  REG(0x40008000) = 1;
}
static int uart_waiting(void) { return REG(UART + 0x108) != 0; }
static uint8_t uart_take(void) {
  REG(UART + 0x108) = 0;
  return (uint8_t)REG(UART + 0x518);
}
static void uart_put(uint8_t byte) {
  REG(UART + 0x11C) = 0;
  REG(UART + 0x51C) = byte;
  while (REG(UART + 0x11C) == 0) {
  }
}
#else
#if defined(UART_L4)
enum { kControl = 0, kStatus = 0x1C, kReceive = 0x24, kTransmit = 0x28, kEnable = 0x2D };
#else
enum { kControl = 0xC, kStatus = 0, kReceive = 4, kTransmit = 4, kEnable = 0x202C };
#endif
static void uart_start(void) { REG(UART + kControl) = kEnable; }
static int uart_waiting(void) { return (REG(UART + kStatus) & 1 << 5) != 0; }
static uint8_t uart_take(void) {
  const uint8_t byte = (uint8_t)REG(UART + kReceive);
#if defined(UART_L4)
  REG(0xE000E014) = 3999;  // a timer that starts wakes QEMU's main loop, which its L4 UART does not
  REG(0xE000E010) = 0;
  REG(0xE000E018) = 0;
  REG(0xE000E010) = 5;
#endif
  return byte;
}
static void uart_put(uint8_t byte) {
  while ((REG(UART + kStatus) & 1 << 7) == 0) {
  }
  REG(UART + kTransmit) = byte;
}
#endif

__attribute__((noinline)) static uint8_t uart_get(void) {
  while (!uart_waiting()) {
    __asm__ volatile("wfi" ::: "memory");
    REG(0xE000E280 + IRQ / 32 * 4) = 1U << IRQ % 32;
  }
  const uint8_t byte = uart_take();
  REG(0xE000E280 + IRQ / 32 * 4) = 1U << IRQ % 32;
  return byte;
}

static void say(const char* text) {
  for (; *text != '\0'; ++text) uart_put((uint8_t)*text);
}

void reset_handler(void) {
  void set_phase(uint32_t phase);
  __asm__ volatile("cpsid i");
#if defined(COUNTED_CALL)
  REG(0xE000ED88) |= 0xFU << 20;  // the FPU: CPACR
  __asm__ volatile("dsb\n isb");
#endif
  REG(0xE000E100 + IRQ / 32 * 4) = 1U << IRQ % 32;
  received = 0;
  resets[0] = resets[0] == ~resets[1] ? resets[0] + 1 : 1;
  resets[1] = ~resets[0];
  uart_start();
  say("boot ");
  uart_put((uint8_t)('0' + resets[0]));
  uart_put('\n');
  set_phase(1);
  for (;;) {
    uint8_t byte = uart_get();
    received += 1;
    if (byte != kEscape) {
      uart_put(byte);
      continue;
    }
    byte = uart_get();
    if (byte == 'c') {
      run_counted();
      say("done\n");
    } else if (byte == 'r') {
      REG(0xE000ED0C) = 0x05FA0004;
    } else if (byte == 'f') {
      __asm__ volatile(".hword 0xde00");
    }
  }
}
