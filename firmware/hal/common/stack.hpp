// The stack's high-water mark by paint. Reset_Handler paints the whole stack before anything runs.
#pragma once

#include <cstdint>

namespace hal {

inline constexpr uint32_t kStackPaint = 0xC5C5C5C5U;

uint32_t stack_reserved();    // bytes between the linker's limit and the initial stack pointer
uint32_t stack_high_water();  // bytes used at most since the paint, from the top to the deepest word that changed
void stack_repaint();         // repaints below the present stack pointer: a new mark starts from here

}  // namespace hal
