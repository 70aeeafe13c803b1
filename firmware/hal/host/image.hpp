// A process has no flash image: it makes one up that holds nothing but the descriptor, in its place, so that the
// firmware that reads and checks it is the same as on a board.
#pragma once

#include <cstdint>

namespace hal::host {

void make_image();  // once, before the firmware runs
const uint8_t* image();

}  // namespace hal::host
