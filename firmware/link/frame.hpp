// The link's frame: 0x00 | COBS(header | payload | CRC-32 of both) | 0x00. What lies between delimiters and is not a
// frame is log text if it is printable, a corrupt frame otherwise. After any garbage the next delimiter resynchronises.
#pragma once

#include <cstddef>
#include <cstdint>

#include "link/cobs.hpp"

// Largest payload that carries bulk data, told to the host by HELLO; from the board's manifest (`link_chunk_bytes`).
#ifndef FTTE_CHUNK_BYTES
#define FTTE_CHUNK_BYTES 1024
#endif

namespace link {

inline constexpr uint8_t kVersion = 1;
inline constexpr size_t kHeaderBytes = 6;
inline constexpr size_t kCrcBytes = 4;
inline constexpr uint16_t kChunkBytes = FTTE_CHUNK_BYTES;
inline constexpr size_t kMaxPayload = kChunkBytes + 16;  // a bulk request's own fields beside a chunk
inline constexpr size_t kMaxDecoded = kHeaderBytes + kMaxPayload + kCrcBytes;
static_assert(FTTE_CHUNK_BYTES >= 128 && FTTE_CHUNK_BYTES <= 32768, "the length field has 16 bits; a head 128 bytes");

inline constexpr uint8_t kFlagReply = 0x01;
inline constexpr uint8_t kFlagError = 0x02;

// On the wire, little-endian: version (2 bits) and type (6 bits), flags, sequence u16, length u16.
struct Header {
  uint8_t version;
  uint8_t type;
  uint8_t flags;
  uint16_t sequence;
  uint16_t length;  // of the payload, in bytes

  uint8_t tag() const { return static_cast<uint8_t>(flags >> 4); }
  bool reply() const { return (flags & kFlagReply) != 0; }
  bool error() const { return (flags & kFlagError) != 0; }
};

enum class Event : uint8_t {
  kNone = 0,     // in the middle of something, or between frames
  kFrame = 1,    // header() and payload() are valid until the next feed()
  kCorrupt = 2,  // what the delimiter ended was neither a frame nor text
  kText = 3,     // what the delimiter ended was log text; it is not kept
};

// Takes a stream of bytes apart, one at a time, in constant memory.
class Parser {
 public:
  Parser() = default;
  Parser(const Parser&) = delete;  // the decoder points into the buffer
  Parser& operator=(const Parser&) = delete;

  Event feed(uint8_t byte);

  const Header& header() const { return header_; }
  const uint8_t* payload() const { return buffer_ + kLead + kHeaderBytes; }  // 8-byte aligned
  uint32_t crc() const { return crc_; }                                      // that the frame carries
  // Bytes between the delimiters of what the last event ended; a frame is two longer on the wire.
  uint32_t segment_bytes() const { return segment_bytes_; }

 private:
  Event finish();
  bool decode_frame();

  static constexpr size_t kLead = 2;  // puts the payload, behind 6 bytes of header, on a multiple of 8

  alignas(8) uint8_t buffer_[kLead + kMaxDecoded];
  CobsDecoder decoder_{buffer_ + kLead, kMaxDecoded};
  Header header_{};
  uint32_t crc_ = 0;
  uint32_t segment_bytes_ = 0;
  bool printable_ = true;  // so far, of this segment
  bool ended_ = true;      // the last byte was a delimiter
};

// Writes one frame whose payload is head, then body; header.length is ignored and set from them (at most 65535 bytes).
// Returns the bytes written, delimiters included.
uint32_t write_frame(const Transport& transport, const Header& header, Piece head, Piece body);

}  // namespace link
