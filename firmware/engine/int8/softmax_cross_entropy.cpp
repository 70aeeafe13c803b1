#include "engine/int8/softmax_cross_entropy.hpp"

#include "engine/int8/fixed.hpp"

namespace ftte::int8 {
namespace {

constexpr int32_t kTableBits = 6;

// round(2^15 * 2^-(k/64)), k = 0 .. 64
constexpr uint16_t kPower[65] = {
    32768, 32415, 32066, 31720, 31379, 31041, 30706, 30376, 30048, 29725, 29405, 29088, 28774,
    28464, 28158, 27855, 27554, 27258, 26964, 26674, 26386, 26102, 25821, 25543, 25268, 24995,
    24726, 24460, 24196, 23936, 23678, 23423, 23170, 22921, 22674, 22430, 22188, 21949, 21713,
    21479, 21247, 21019, 20792, 20568, 20347, 20127, 19911, 19696, 19484, 19274, 19066, 18861,
    18658, 18457, 18258, 18061, 17867, 17674, 17484, 17296, 17109, 16925, 16743, 16562, 16384,
};

// round(2^15 * log2(1 + k/64)), k = 0 .. 64
constexpr uint16_t kLog[65] = {
    0,     733,   1455,  2166,  2866,  3556,  4236,  4907,  5568,  6220,  6863,  7498,  8124,
    8742,  9352,  9954,  10549, 11136, 11716, 12289, 12855, 13415, 13968, 14514, 15055, 15589,
    16117, 16639, 17156, 17667, 18173, 18673, 19168, 19658, 20143, 20623, 21098, 21568, 22034,
    22495, 22952, 23404, 23852, 24296, 24736, 25172, 25604, 26031, 26455, 26876, 27292, 27705,
    28114, 28520, 28922, 29321, 29717, 30109, 30498, 30884, 31267, 31647, 32024, 32397, 32768,
};

constexpr uint32_t kLog2E = 47274;     // log2(e), Q15
constexpr uint32_t kLn2 = 45426;       // ln(2), Q16
constexpr int32_t kDistanceBits = 12;  // distances of logits: Q12 nats in 16 bits, so up to 16 nats
constexpr int32_t kSumBits = 22;       // powers: Q22, so that 256 of them fit

// Table value at `fraction`, Q21 of the table's length, interpolated; Q15.
uint32_t interpolate(const uint16_t* table, uint32_t fraction) {
  const uint32_t k = fraction >> (21 - kTableBits);
  const int32_t low = table[k];
  const int32_t step = table[k + 1] - low;
  const auto between = static_cast<int32_t>(fraction & ((1U << (21 - kTableBits)) - 1U));
  return static_cast<uint32_t>(low + round_shift(step * between, 21 - kTableBits));
}

// value * 2^(to - from), at most `limit` (with its last bits cleared when to > from).
uint32_t rescale(uint32_t value, int32_t from, int32_t to, uint32_t limit) {
  const int32_t right = at_least(from - to, 0);
  const int32_t left = at_least(to - from, 0);
  return smaller(value >> right, limit >> left) << left;
}

// 2^-(distance log2 e), distance in Q12 nats below 16; Q22.
uint32_t power(uint32_t distance) {
  const uint32_t exponent = distance * kLog2E;  // Q27
  const uint32_t fraction = (exponent & ((1U << 27) - 1U)) >> 6;
  return (interpolate(kPower, fraction) << (kSumBits - 15)) >> (exponent >> 27);
}

// ln(sum), Q16, for a sum >= 1 in Q22 of bit_length `bits`.
uint32_t logarithm(uint32_t sum, int32_t bits) {
  const auto whole = static_cast<uint32_t>(bits - 1 - kSumBits);
  const uint32_t fraction = ((sum << (32 - bits)) & 0x7FFFFFFFU) >> 10;
  return whole * kLn2 + ((interpolate(kLog, fraction) * kLn2) >> 15);
}

// floor(2^31 / divisor) for 2^15 <= divisor < 2^16, by shift and subtract: the M0 has no division.
uint32_t reciprocal(uint32_t divisor) {
  uint32_t remainder = 1U << 31;
  uint32_t quotient = 0;
  for (int32_t bit = 16; bit >= 0; --bit) {
    const uint32_t trial = divisor << bit;
    const uint32_t fits = 1U - below(remainder, trial);
    remainder -= trial & (0U - fits);
    quotient |= fits << bit;
  }
  return quotient;
}

struct Best {
  int32_t value;
  int32_t place;
};

Best argmax(int32_t classes, const int32_t* logits) {
  Best best{logits[0], 0};
  for (int32_t i = 1; i < classes; ++i) {
    const int32_t beaten = (best.value - logits[i]) >> 31;
    best.value ^= (best.value ^ logits[i]) & beaten;
    best.place ^= (best.place ^ i) & beaten;
  }
  return best;
}

// powers int [classes] in Q22 become p - onehot(label) in Q16, then int8. Returns the exponent of the result.
int32_t store_gradient_of(int32_t classes, uint32_t* powers, uint32_t sum, int32_t bits, uint8_t label,
                          int8_t* gradient) {
  const int32_t drop = bits - 16;
  const uint32_t inverse = reciprocal(sum >> drop);
  uint32_t largest = 0;
  for (int32_t i = 0; i < classes; ++i) {
    const uint32_t probability = ((powers[i] >> drop) * inverse + (1U << 14)) >> 15;
    const uint32_t one = (1U - differs(i, label)) << 16;
    powers[i] = probability - one;
    largest = larger(largest, magnitude(static_cast<int32_t>(powers[i])));
  }
  const int32_t shift = gradient_shift(largest);
  for (int32_t i = 0; i < classes; ++i) gradient[i] = store_gradient(static_cast<int32_t>(powers[i]), shift);
  return 16 - shift;
}

}  // namespace

LossResult softmax_cross_entropy(int32_t classes, const int32_t* logits, int32_t exponent, uint8_t label,
                                 uint32_t* scratch, int8_t* gradient) {
  const Best best = argmax(classes, logits);
  uint32_t sum = 0;
  uint32_t loss = 0;
  for (int32_t i = 0; i < classes; ++i) {
    const auto distance = static_cast<uint32_t>(best.value - logits[i]);
    const uint32_t of_label = 0U - (1U - differs(i, label));
    loss |= of_label & rescale(distance, exponent, 16, 1U << 31);
    scratch[i] = power(rescale(distance, exponent, kDistanceBits, 0xFFFFU));
    sum += scratch[i];
  }
  const int32_t bits = bit_length(sum);
  loss += logarithm(sum, bits);
  int32_t gradient_exponent = 16;
  if (gradient != nullptr) gradient_exponent = store_gradient_of(classes, scratch, sum, bits, label, gradient);
  return {loss, gradient_exponent, static_cast<uint8_t>(best.place)};
}

}  // namespace ftte::int8
