#include "federation/download.hpp"

#include <cstring>

#include "federation/bits.hpp"

namespace federation {

namespace {

constexpr uint32_t kCodeBits = 6;
constexpr uint32_t kRice = 33;

// False if the message has an end before the block, or one that no encoder writes.
bool read_block(BitReader& stream, uint32_t n, bool words, uint32_t* u) {
  const uint32_t code = stream.take(kCodeBits);
  const uint32_t value_bits = words ? 32 : 8;
  if (code < kRice) {
    if (code > value_bits) return false;
    for (uint32_t i = 0; i < n; ++i) u[i] = stream.take_wide(code);
    return !stream.failed();
  }
  const uint32_t k = code - kRice;
  if (k > value_bits - 2) return false;
  const uint32_t most = (words ? UINT32_MAX : UINT8_MAX) >> k;
  for (uint32_t i = 0; i < n; ++i) u[i] = stream.take_unary(most) << k;
  for (uint32_t i = 0; i < n; ++i) u[i] |= stream.take_wide(k);
  return !stream.failed();
}

void add_block(uint32_t n, bool words, const uint32_t* u, uint8_t* bytes) {
  if (words) {
    auto* values = reinterpret_cast<uint32_t*>(bytes);
    for (uint32_t i = 0; i < n; ++i) values[i] += static_cast<uint32_t>(from_zigzag(u[i]));
  } else {
    for (uint32_t i = 0; i < n; ++i)
      bytes[i] = static_cast<uint8_t>(bytes[i] + static_cast<uint32_t>(from_zigzag(u[i])));
  }
}

// Without `bytes` checks only.
bool read_blocks(const Segment* segments, uint32_t count, BitReader stream, uint8_t* bytes) {
  uint32_t u[kBlock];
  for (uint32_t i = 0; i < count; ++i) {
    const Segment& segment = segments[i];
    for (uint32_t first = 0; first < segment.count; first += kBlock) {
      const uint32_t n = segment.count - first < kBlock ? segment.count - first : kBlock;
      if (!read_block(stream, n, segment.words, u)) return false;
      if (bytes == nullptr) continue;
      add_block(n, segment.words, u, bytes);
      bytes += segment.words ? n * 4 : n;
    }
  }
  return stream.finished();
}

}  // namespace

Error apply_download(const Segment* segments, uint32_t count, const uint8_t* message, uint32_t size, uint8_t* bytes) {
  uint32_t total = 0;
  for (uint32_t i = 0; i < count; ++i) total += segments[i].words ? segments[i].count * 4 : segments[i].count;
  BitReader stream(message, size);
  const uint32_t kind = stream.take(8) ^ (kFormatVersion << 4);
  if (stream.take_wide(32) != total || stream.failed()) return Error::kHeader;
  if (kind == kDenseMessage) {
    if (size != kDownloadHeaderBytes + total) return Error::kMalformed;
    std::memcpy(bytes, message + kDownloadHeaderBytes, total);
    return Error::kNone;
  }
  if (kind != kDifferenceMessage) return Error::kHeader;
  if (!read_blocks(segments, count, stream, nullptr)) return Error::kMalformed;
  read_blocks(segments, count, stream, bytes);
  return Error::kNone;
}

}  // namespace federation
