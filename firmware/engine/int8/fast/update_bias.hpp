// update_bias (engine/int8/update.hpp: the rule, numbers) for cores with the DSP extension: the same bits.
//
// Four channels at a time: SXTAB16 widens and adds two bytes of a word, so that four elements take three instructions.
// Its 16-bit sums hold 256 positions (127 * 256 < 2^15) before they move to 32 bits. The scales of a channel, which
// depend on its lift alone, are found once for each lift. A number of channels that is no multiple of four goes to the
// general kernel, as do other cores.
#pragma once

#include "engine/int8/update.hpp"

namespace ftte::int8::fast {

// lift 0 .. 7. Cost on an M4: about 1.3 instructions an element of gy, and 40 a channel.
void update_bias(Sgd& sgd, uint32_t stream, const int8_t* gy, int32_t gy_exponent, int32_t positions, int32_t channels,
                 int32_t* bias, const int8_t* lift, int32_t exponent);

}  // namespace ftte::int8::fast
