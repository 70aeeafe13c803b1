// What the HAL promises everything above it, on the board itself.
#include <cstring>

#include "check.hpp"
#include "hal/common/stack.hpp"
#include "hal/hal.hpp"
#include "src/image.hpp"

namespace {

#if defined(FTTE_HOST)
constexpr uint32_t kDeep = 4096;  // a process keeps a distance of 1 KB from what is painted
#else
constexpr uint32_t kDeep = 768;
#endif

__attribute__((noinline)) uint32_t use_stack() {
  volatile uint8_t deep[kDeep];
  for (uint32_t i = 0; i < kDeep; ++i) deep[i] = static_cast<uint8_t>(i);
  return deep[kDeep - 1];
}

void the_clock_runs_at_a_rate_that_init_tells() {
  const uint32_t hz = hal::core_hz();
  const bool rated = hz == FTTE_CORE_HZ;
  CHECK(hz >= 1000000U);
  // An emulator has no PLL, and a board whose crystal is broken falls back: init() says so.
  CHECK(rated || hal::clock_source() != hal::ClockSource::kCrystalPll);
}

void cycles_go_forward() {
  uint64_t before = hal::cycles();
  for (int i = 0; i < 1000; ++i) {
    const uint64_t now = hal::cycles();
    CHECK(now >= before);
    before = now;
  }
}

void the_stack_mark_shows_what_was_used() {
  hal::stack_repaint();
  const uint32_t shallow = hal::stack_high_water();
  CHECK_EQUAL(use_stack(), (kDeep - 1) & 0xFFU);
  const uint32_t deep = hal::stack_high_water();
  CHECK(deep >= kDeep);
  CHECK(deep > shallow);
  CHECK(deep < hal::stack_reserved());
  hal::stack_repaint();
  CHECK(hal::stack_high_water() < deep);
}

void no_fault_is_on_record() {
  hal::take_fault();
  CHECK_EQUAL(hal::take_fault().magic, 0U);
}

void the_image_says_which_it_is() {
  const uint8_t* at = hal::image_base() + image::kDescriptorOffset;
  CHECK(std::memcmp(at, "FTTEIMG1", 8) == 0);
  CHECK(std::strcmp(image::kDescriptor.env, FTTE_ENV) == 0);
  CHECK_EQUAL(image::kDescriptor.descriptor_size, sizeof(image::Descriptor));
}

void nothing_was_lost_on_the_line() {
  CHECK_EQUAL(hal::uart_overruns(), 0U);
  CHECK_EQUAL(hal::uart_line_errors(), 0U);
}

}  // namespace

namespace check {

extern const Case kCases[] = {
    {"the_clock_runs_at_a_rate_that_init_tells", the_clock_runs_at_a_rate_that_init_tells},
    {"cycles_go_forward", cycles_go_forward},
    {"the_stack_mark_shows_what_was_used", the_stack_mark_shows_what_was_used},
    {"no_fault_is_on_record", no_fault_is_on_record},
    {"the_image_says_which_it_is", the_image_says_which_it_is},
    {"nothing_was_lost_on_the_line", nothing_was_lost_on_the_line},
};
extern const size_t kCaseCount = sizeof kCases / sizeof *kCases;

}  // namespace check
