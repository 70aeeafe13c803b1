#include "link/frame.hpp"

#include "link/crc32.hpp"

namespace link {
namespace {

bool is_printable(uint8_t byte) {
  return (byte >= 0x20 && byte <= 0x7E) || byte == '\t' || byte == '\n' || byte == '\r';
}

uint16_t load_u16(const uint8_t* bytes) { return static_cast<uint16_t>(bytes[0] | (bytes[1] << 8)); }

uint32_t load_u32(const uint8_t* bytes) {
  return static_cast<uint32_t>(load_u16(bytes)) | static_cast<uint32_t>(load_u16(bytes + 2)) << 16;
}

}  // namespace

Event Parser::feed(uint8_t byte) {
  if (ended_) {  // counts and buffer of the last segment stay readable until the next byte
    decoder_.reset();
    segment_bytes_ = 0;
    printable_ = true;
    ended_ = false;
  }
  if (byte == 0) return finish();
  ++segment_bytes_;
  printable_ = printable_ && is_printable(byte);
  decoder_.put(byte);
  return Event::kNone;
}

Event Parser::finish() {
  ended_ = true;
  if (segment_bytes_ == 0) return Event::kNone;
  if (decode_frame()) return Event::kFrame;
  return printable_ ? Event::kText : Event::kCorrupt;
}

bool Parser::decode_frame() {
  const uint8_t* const decoded = buffer_ + kLead;
  const size_t size = decoder_.size();
  if (!decoder_.complete() || size < kHeaderBytes + kCrcBytes) return false;
  const size_t length = load_u16(decoded + 4);
  if (size != kHeaderBytes + length + kCrcBytes) return false;
  crc_ = load_u32(decoded + kHeaderBytes + length);
  if (crc32(decoded, kHeaderBytes + length) != crc_) return false;
  header_.version = static_cast<uint8_t>(decoded[0] >> 6);
  header_.type = decoded[0] & 0x3F;
  header_.flags = decoded[1];
  header_.sequence = load_u16(decoded + 2);
  header_.length = static_cast<uint16_t>(length);
  return true;
}

uint32_t write_frame(const Transport& transport, const Header& header, Piece head, Piece body) {
  const size_t length = head.size + body.size;
  const uint8_t encoded_header[kHeaderBytes] = {
      static_cast<uint8_t>(header.version << 6 | (header.type & 0x3F)),
      header.flags,
      static_cast<uint8_t>(header.sequence & 0xFF),
      static_cast<uint8_t>(header.sequence >> 8),
      static_cast<uint8_t>(length & 0xFF),
      static_cast<uint8_t>(length >> 8),
  };
  Crc32 crc;
  crc.update(encoded_header, kHeaderBytes);
  crc.update(head.data, head.size);
  crc.update(body.data, body.size);
  const uint32_t value = crc.value();
  const uint8_t encoded_crc[kCrcBytes] = {static_cast<uint8_t>(value), static_cast<uint8_t>(value >> 8),
                                          static_cast<uint8_t>(value >> 16), static_cast<uint8_t>(value >> 24)};
  const Piece pieces[] = {{encoded_header, kHeaderBytes}, head, body, {encoded_crc, kCrcBytes}};
  const uint8_t delimiter = 0;
  transport.write(transport.context, &delimiter, 1);
  const size_t written = cobs_encode(transport, pieces, 4);
  transport.write(transport.context, &delimiter, 1);
  return static_cast<uint32_t>(written + 2);
}

}  // namespace link
