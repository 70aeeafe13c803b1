// add_gradients (engine/int8/add_gradients.hpp) for Cortex-M: the same bits, stored by gradient_store.hpp. On the host,
// and where n is no multiple of four: the general kernel.
#pragma once

#include "engine/int8/add_gradients.hpp"

namespace ftte::int8::fast {

// Cost on an M4: about 29 instructions an element, for n a multiple of four.
int32_t add_gradients(Sgd& sgd, int32_t n, const int8_t* a, int32_t a_exponent, const int8_t* b, int32_t b_exponent,
                      const uint8_t* gate, uint32_t* peak, int8_t* y);

}  // namespace ftte::int8::fast
