// Starts the firmware as a process: program [--serial PATH] [--data FILE]
//
// PATH becomes a symbolic link to the pseudo-terminal that is the serial line, and goes away with the process. The
// firmware runs on a stack of its own, painted as a board's is.
#include <sys/mman.h>
#include <ucontext.h>

#include <cstdio>
#include <cstring>

#include "hal/common/stack.hpp"
#include "hal/hal.hpp"
#include "hal/host/image.hpp"
#include "hal/host/process.hpp"

namespace {

constexpr size_t kStackBytes = 256 * 1024;
constexpr size_t kGuardBytes = 4096;  // below the stack: an overflow faults, as it does on a board

uint32_t* g_stack;
ucontext_t g_firmware, g_main;

bool make_stack() {
  void* memory = mmap(nullptr, kGuardBytes + kStackBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED || mprotect(memory, kGuardBytes, PROT_NONE) != 0) return false;
  g_stack = static_cast<uint32_t*>(memory) + kGuardBytes / sizeof(uint32_t);
  for (size_t i = 0; i < kStackBytes / sizeof(uint32_t); ++i) g_stack[i] = hal::kStackPaint;
  return true;
}

// The C library's own frames may reach below this function's: they keep a distance from what is painted.
constexpr size_t kMarginBytes = 1024;

bool parse(int argc, char** argv, hal::host::Options& options) {
  for (int i = 1; i < argc; i += 2) {
    if (i + 1 == argc) return false;
    if (std::strcmp(argv[i], "--serial") == 0) {
      options.serial = argv[i + 1];
    } else if (std::strcmp(argv[i], "--data") == 0) {
      options.data = argv[i + 1];
    } else {
      return false;
    }
  }
  return true;
}

}  // namespace

namespace hal {

uint32_t stack_reserved() { return kStackBytes; }

uint32_t stack_high_water() {
  size_t untouched = 0;
  while (untouched < kStackBytes / sizeof(uint32_t) && g_stack[untouched] == kStackPaint) ++untouched;
  return static_cast<uint32_t>(kStackBytes - untouched * sizeof(uint32_t));
}

void stack_repaint() {
  const uint8_t* here = static_cast<const uint8_t*>(__builtin_frame_address(0)) - kMarginBytes;
  for (volatile uint32_t* word = g_stack; reinterpret_cast<volatile uint8_t*>(word) < here; ++word) *word = kStackPaint;
}

}  // namespace hal

int main(int argc, char** argv) {
  hal::host::Options options{};
  if (!parse(argc, argv, options)) {
    std::fprintf(stderr, "usage: %s [--serial PATH] [--data FILE]\n", argv[0]);
    return 2;
  }
  hal::host::set_up(options, argv);
  hal::host::make_image();
  if (!make_stack()) {
    std::perror("host board: no memory for the stack");
    return 2;
  }
  getcontext(&g_firmware);
  g_firmware.uc_stack.ss_sp = g_stack;
  g_firmware.uc_stack.ss_size = kStackBytes;
  makecontext(&g_firmware, firmware_main, 0);
  swapcontext(&g_main, &g_firmware);
}
