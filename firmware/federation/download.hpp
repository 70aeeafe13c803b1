// What the server sends to a client that still has an older version: the difference of two byte strings, laid out as
// the parameters that go down are, without loss. bench/federation/download_codec.py writes it.
//
// The bytes are segments of int8 or of 32-bit words (int32, or the bits of float32), in order. A value's difference,
// new - old, is taken modulo 2^8 or 2^32 and zigzag-coded (bits.hpp) to u.
//
// Message: `version u4 << 4 | kind u4, bytes u32` little-endian; kind kDense: then the new bytes as they are. Kind
// kDifference: then blocks of 64 values of a segment (the last may be shorter) as a stream of bits (bits.hpp), each
// with a code of 6 bits for how it is written:
//   0        all u are 0
//   1 .. 32  each u in so many bits; int8: up to 8
//   33 + k   u >> k in unary for each, then the low k bits of each; 0 <= k <= 30, int8: up to 6
#pragma once

#include <cstdint>

#include "federation/update.hpp"

namespace federation {

inline constexpr uint32_t kDownloadHeaderBytes = 5;
inline constexpr uint8_t kDenseMessage = 2;
inline constexpr uint8_t kDifferenceMessage = 3;

struct Segment {
  bool words;      // 32 bits a value, 4-byte aligned, else 8
  uint32_t count;  // values
};

// No message is longer: the server sends kDense where a difference would be.
constexpr uint32_t max_download_bytes(uint32_t down_bytes) { return kDownloadHeaderBytes + down_bytes; }

// Turns the old bytes into the new in place. A message that is not for such segments, or malformed, changes nothing: it
// is read once before anything is written. Whether `bytes` are those that the server took the difference to is not
// checked: compare a checksum of the result. Stack: about 450 bytes.
Error apply_download(const Segment* segments, uint32_t count, const uint8_t* message, uint32_t size, uint8_t* bytes);

}  // namespace federation
