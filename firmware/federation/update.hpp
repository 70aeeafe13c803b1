// What a client sends up: how far training moved its parameters, on an integer grid, in blocks of 64 values with a
// scale of their own, in 8, 4, 2 or 1 bits a value, with error feedback. bench/federation/update_codec.py gives the
// same bits.
//
// Grid. A parameter's value is an integer in units of what is finest of it: an int8 weight q with a rounding residual r
// of R bits is q * 2^R + r, an int32 bias is as it is stored. A float32 parameter's difference to the base is rounded
// to nearest, halves to even, in units of 2^-20, and cut to +-kLargest; a difference that is not a number counts as 0.
// What is sent is p = trained - base + e, cut to +-kLargest: base is what the server sent down (residuals zero), and e
// what earlier updates of this client left unsent.
//
// Quantiser, for each block of 64 values of a tensor (the last may be shorter):
//   1. Of n values the ceil(n * keep / 256) of largest |p| stay (of equals the first), the others become level 0.
//   2. The scale s is the smallest one representable that is not below
//        bits >= 2:  max |p| / (2^(bits-1) - 1)
//        1 bit:      the mean |p| of those that stay and are not 0, as ceil(sum(|p| >> t) / count) << t, where t is 0
//                    unless |p| has more than 26 bits, and makes the largest fit these: so that the sum fits 32.
//      Representable are (8 + m) << e >> 3 for 0 <= m < 8, e < 32: its code is e * 8 + m, of several the lowest. Code 0
//      (which would be 1, as codes 1 to 7 are) stands for a block of zeros.
//   3. level = p / s rounded to nearest, halves away from zero. With 1 bit: the sign of p, and 0 for 0; but if all
//      values stay (keep = 256) and at most a quarter of them are 0, these become 1 at even and -1 at odd places of
//      the block: to tell a few zeros apart would double its size, and error feedback takes them back.
//   4. e = p - level * s, cut to int16 for weights, to int32 for biases and float32 (where it always fits).
// All of this is exact in 32 bits: p / s is (2|p| + s) / 2s, whose divisor is M << k with M < 16; what is left of the
// dividend after k bits are shifted out has 11, and a multiplication by 2^16 / M, rounded up, divides that exactly.
//
// Message: `version u4 << 4 | kind u4, flags u8, keep - 1 u8, values u32`, little-endian, then blocks, as a stream of
// bits (bits.hpp). flags: log2(bits), 4 entropy, 8 error feedback. A block begins with its scale's code; before that
// may come kSwitch + mode, which is how this and all following blocks are coded (the first: kPlain). A block of zeros
// is its code alone. Levels are zigzag-coded (bits.hpp) to z; of one that is known not to be 0 comes z - 1, in 8, 4, 1,
// 1 bits for bits = 8, 4, 2, 1:
//   kPlain      each z in `bits` bits. With 1 bit: a bit 0 and each level's z - 1, or, where there are zeros, a bit
//               1, a bit for each level, 1 if it is not 0, and z - 1 of these
//   kRice + k   z >> k in unary for each, then the low k bits of each; 0 <= k <= bits - 2
//   kBitmap     a bit for each level, 1 if it is not 0; then z - 1 of these; not with 1 bit
//   kRuns + k   how many levels are not 0, less one, in 6 bits; the numbers of zeros before each of these, in Rice
//               coding as above; then z - 1 of each; 0 <= k <= 5
// The encoder takes for each block the mode of least payload + switch, where a switch costs 8 bits and leaving kPlain
// 8 more: those that the way back, which then is free, will cost. So no message is longer than one of kPlain alone. Of
// equals it takes the lowest mode. It tries kRuns only where at most half of the levels are not 0. Without entropy
// coding only kPlain is used.
//
// Cost, in instructions a value: see tests/firmware/test_update_codec_cores.py. Stack: about 650 bytes.
#pragma once

#include <cstdint>

namespace federation {

inline constexpr uint32_t kBlock = 64;
inline constexpr int32_t kLargest = 1 << 30;  // of |p|; two biases differ by no more (engine/int8/update.hpp)
inline constexpr uint32_t kUpdateHeaderBytes = 7;
inline constexpr uint8_t kFormatVersion = 1;

enum class Kind : uint8_t {
  kInt8 = 0,                // int8 weights, no residual
  kInt8WithResidual8 = 1,   // int8 residuals, R = 8
  kInt8WithResidual4 = 2,   // residuals of four bits, two to a byte, the first in its low half; R = 4
  kInt8WithResidual16 = 3,  // int16 residuals, R = 8: a batch that is being gathered
  kInt32 = 4,
  kInt32WithResidual = 5,  // int32 residuals, R = 0: likewise
  kFloat32 = 6,
};

// A tensor that trains. Offsets are in bytes, and aligned for what lies there.
struct Span {
  Kind kind;
  uint32_t count;     // values
  uint32_t value;     // offset in the parameters, and in the base
  uint32_t residual;  // offset in the parameters; kinds without: not read
  uint32_t error;     // offset in the error feedback: int16 for int8 weights, else int32
};

struct Spans {
  const Span* first;
  uint32_t count;
};

struct UpdateSettings {
  uint8_t bits;         // 8, 4, 2 or 1
  uint16_t keep;        // 1 .. 256: of 256 values so many stay
  bool entropy;         // choose the shortest mode of each block
  bool error_feedback;  // told to the decoder; the encoder goes by `errors`
};

enum class Error : uint8_t {
  kNone = 0,
  kSettings = 1,   // settings that are not possible, or a kind that this core has no arithmetic for
  kNoRoom = 2,     // the buffer is smaller than max_update_bytes()
  kHeader = 3,     // another version or kind of message, other settings or sizes
  kMalformed = 4,  // truncated, too long, or values that no encoder writes
};

constexpr bool valid(const UpdateSettings& s) {
  return (s.bits == 8 || s.bits == 4 || s.bits == 2 || s.bits == 1) && s.keep >= 1 && s.keep <= 256;
}

constexpr uint32_t blocks_of(uint32_t values) { return (values + kBlock - 1) / kBlock; }

// Of a message with so many values in so many blocks; values < 2^28.
constexpr uint32_t max_update_bytes(uint32_t values, uint32_t blocks, uint32_t bits) {
  const uint32_t block_bits = bits == 1 ? 9 : 8;
  const uint32_t value_bits = bits == 1 ? 2 : bits;
  return kUpdateHeaderBytes + (blocks * block_bits + values * value_bits + 7) / 8;
}

// Bytes that error feedback keeps for one value.
constexpr uint32_t error_bytes(Kind kind) { return kind <= Kind::kInt8WithResidual16 ? 2 : 4; }

struct SpanTotals {
  uint32_t values;
  uint32_t blocks;
  uint32_t error_bytes;
};

constexpr SpanTotals totals(const Spans& spans) {
  SpanTotals sum{0, 0, 0};
  for (uint32_t i = 0; i < spans.count; ++i) {
    const Span& span = spans.first[i];
    sum.values += span.count;
    sum.blocks += blocks_of(span.count);
    sum.error_bytes += span.count * error_bytes(span.kind);
  }
  return sum;
}

struct Encoded {
  Error error;
  uint32_t bytes;
  uint32_t clipped;  // times that a difference, a p or an e was cut, or was not a number
};

// Encodes one update.
//
// params: the trained parameters; base: what was sent down, laid out alike; both 4-byte aligned. errors: the error
// feedback, 4-byte aligned, updated; null without error feedback. out: at least max_update_bytes() of `capacity`.
// Nothing may overlap. Unless the error is kNone, nothing is written.
Encoded encode_update(const UpdateSettings& settings, const Spans& spans, const uint8_t* params, const uint8_t* base,
                      uint8_t* errors, uint8_t* out, uint32_t capacity);

// Decodes an update with these settings to level * s of each value, in order of the spans. `deltas` has room for all
// values; after an error its contents mean nothing.
Error decode_update(const UpdateSettings& settings, const Spans& spans, const uint8_t* message, uint32_t size,
                    int32_t* deltas);

}  // namespace federation
