#include "hal/common/fault.hpp"

#include "hal/common/core.hpp"
#include "hal/common/linker.hpp"

namespace hal {
namespace {

// A word that a reset leaves alone and that powering up does not produce by chance.
constexpr uint32_t kMarkMagic = 0x5E7C0000U;

struct Survivors {
  FaultRecord fault;
  uint32_t reset_mark;  // kMarkMagic | ResetCause
};

__attribute__((section(".noinit"))) Survivors g_survivors;

}  // namespace

ResetCause take_reset_mark() {
  const uint32_t mark = g_survivors.reset_mark;
  g_survivors.reset_mark = 0;
  if (mark == (kMarkMagic | static_cast<uint32_t>(ResetCause::kSoftware))) return ResetCause::kSoftware;
  if (mark == (kMarkMagic | static_cast<uint32_t>(ResetCause::kFault))) return ResetCause::kFault;
  return ResetCause::kUnknown;
}

void system_reset(ResetCause mark) {
  core::irq_disable();
  g_survivors.reset_mark = kMarkMagic | static_cast<uint32_t>(mark);
  core::data_barrier();
  const uint32_t kept = read(core::SCB_AIRCR) & core::SCB_AIRCR_PRIGROUP.mask();
  write(core::SCB_AIRCR, core::SCB_AIRCR_VECTKEY(core::kVectKey) | kept | core::SCB_AIRCR_SYSRESETREQ(1));
  core::data_barrier();
  for (;;) {
  }
}

FaultRecord take_fault() {
  const FaultRecord record = g_survivors.fault.magic == kFaultMagic ? g_survivors.fault : FaultRecord{};
  g_survivors.fault = FaultRecord{};
  return record;
}

}  // namespace hal

namespace {

// The words that the core pushes on exception entry (ARMv7-M B1.5.6, ARMv6-M B1.5.6).
struct Frame {
  uint32_t r0, r1, r2, r3, r12, lr, pc, psr;
};

}  // namespace

// Called by fault_entry, on a stack that is known to be good. `frame` is null when the stack that took the exception
// lies outside RAM: then nothing was saved, and the link register that remains is the exception's return code.
extern "C" __attribute__((used, noreturn)) void fault_record(const Frame* frame, uint32_t exception_return) {
  using hal::read;
  hal::FaultRecord& record = hal::g_survivors.fault;
  record.pc = frame != nullptr ? frame->pc : 0;
  record.lr = frame != nullptr ? frame->lr : exception_return;
  record.psr = 0;
  uint32_t ipsr;
  __asm volatile("mrs %0, ipsr" : "=r"(ipsr));
  if (frame != nullptr) record.psr = frame->psr & ~0x1FFU;
  record.psr |= ipsr;  // which exception this is, instead of which one it came from: that is thread mode nearly always
#if defined(__ARM_ARCH_6M__)
  record.cfsr = 0;
  record.address = 0;
#else
  record.cfsr = read(hal::core::SCB_CFSR);
  record.address = 0;
  if (hal::core::SCB_CFSR_BFARVALID.of(record.cfsr) != 0) record.address = read(hal::core::SCB_BFAR);
  if (hal::core::SCB_CFSR_MMARVALID.of(record.cfsr) != 0) record.address = read(hal::core::SCB_MMFAR);
#endif
  record.magic = hal::kFaultMagic;
  hal::system_reset(hal::ResetCause::kFault);
}

// Thumb-1 only, so that one text serves the Cortex-M0 too, and no push before the stack is known to be good: the stack
// lies at the bottom of RAM, so the commonest fault of all is that it has run out of RAM.
//
// Order: find the frame; inside RAM? else take the safe stack at once. Is this the load of hal::probe()? then go on
// behind it with r0 = 0. Else record: on the safe stack, whose old contents nobody needs any more.
extern "C" __attribute__((naked, used)) void fault_entry() {
  __asm volatile(
      "  .syntax unified\n"  // the compiler's default for Thumb-1 is the divided one
      "  mov   r1, lr\n"
      "  movs  r0, #4\n"
      "  tst   r0, r1\n"  // EXC_RETURN bit 2: which stack took the frame
      "  beq   1f\n"
      "  mrs   r0, psp\n"
      "  b     2f\n"
      "1:\n"
      "  mrs   r0, msp\n"
      "2:\n"
      "  ldr   r2, =__ram_base\n"
      "  cmp   r0, r2\n"
      "  blo   3f\n"
      "  ldr   r3, =__ram_size\n"
      "  adds  r2, r2, r3\n"
      "  subs  r2, r2, #32\n"  // the frame's eight words must lie in RAM
      "  cmp   r0, r2\n"
      "  bhi   3f\n"
      "  ldr   r2, [r0, #24]\n"
      "  ldr   r3, =hal_probe_load\n"
      "  lsrs  r3, r3, #1\n"
      "  lsls  r3, r3, #1\n"  // without the Thumb bit
      "  cmp   r2, r3\n"
      "  bne   4f\n"
      "  adds  r2, r2, #2\n"  // a 16-bit load
      "  str   r2, [r0, #24]\n"
      "  movs  r2, #0\n"
      "  str   r2, [r0, #0]\n"  // the stacked r0: the load failed
      "  bx    lr\n"
      "3:\n"
      "  movs  r0, #0\n"
      "4:\n"
      "  ldr   r2, =__stack_top\n"
      "  mov   sp, r2\n"
      "  bl    fault_record\n"
      "  .ltorg\n");
}

// uint32_t hal_probe(uint32_t ok, uint32_t address, uint32_t* value): returns `ok`, or what the handler made of it.
extern "C" uint32_t hal_probe(uint32_t ok, uint32_t address, uint32_t* value);
extern "C" __attribute__((naked, used, noinline)) uint32_t hal_probe(uint32_t, uint32_t, uint32_t*) {
  __asm volatile(
      "  .syntax unified\n"
      "  movs  r3, #0\n"
      "  .global hal_probe_load\n"
      "  .thumb_func\n"
      "hal_probe_load:\n"
      "  ldr   r3, [r1]\n"
      "  cmp   r0, #0\n"
      "  beq   1f\n"
      "  str   r3, [r2]\n"
      "1:\n"
      "  bx    lr\n");
}

namespace hal {

bool probe(uint32_t address, uint32_t& value) {
  const bool ok = hal_probe(1, address, &value) != 0;
#if !defined(__ARM_ARCH_6M__)
  if (!ok) write(core::SCB_CFSR, read(core::SCB_CFSR));  // write one to clear: this fault is dealt with
#endif
  return ok;
}

}  // namespace hal
