// Softmax, cross-entropy and their gradient, in integers.
//
// With d_i = max(z) - z_i in nats, the softmax is p_i = 2^(-d_i log2 e) / sum. Powers of two come from a table of
// 2^-(k/64), linearly interpolated (error below 2^-15), the sum's logarithm from a table of log2(1 + k/64) likewise,
// and the one division from a shift-and-subtract loop of fixed length: the M0 has none. Loss = ln(sum) + d_label.
//
// Accuracy, against exact arithmetic on the same logits: each p_i within 1.5 * 2^-14, the loss within 2^-12 nats.
#pragma once

#include <cstdint>

#include "engine/int8/loss_result.hpp"

namespace ftte::int8 {

// logits int32 [classes], |logit| < 2^30, with exponent 0 .. 30; 1 <= classes <= 256; label < classes.
// Writes gradient int8 [classes] = p - onehot(label), scaled so that the largest uses all seven bits, or null: none.
// scratch uint32 [classes]; may be the logits themselves. Cost: about 150 instructions a class and 400 once.
LossResult softmax_cross_entropy(int32_t classes, const int32_t* logits, int32_t exponent, uint8_t label,
                                 uint32_t* scratch, int8_t* gradient);

}  // namespace ftte::int8
