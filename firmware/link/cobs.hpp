// Consistent Overhead Byte Stuffing (Cheshire and Baker, 1999): removes every zero from a message, so that a zero can
// delimit it, for one byte in 254 and one more. A message is cut at its zeros into runs of at most 254 bytes; each run
// is preceded by its length + 1, and the zero behind it is left out unless the run was cut for being 254 long.
#pragma once

#include <cstddef>
#include <cstdint>

namespace link {

// Where encoded bytes go; `write` is called with 1 to 32 bytes at a time and must take them all.
struct Transport {
  void (*write)(void* context, const uint8_t* data, size_t size);
  void* context;
};

// A stretch of a message that lies in pieces: header, head, body and CRC need not be copied together.
struct Piece {
  const uint8_t* data;
  size_t size;
};

// Decodes byte by byte into a bounded buffer. It never writes behind `capacity`; a message that is longer is
// remembered as bad and its bytes are dropped.
class CobsDecoder {
 public:
  CobsDecoder(uint8_t* buffer, size_t capacity) : buffer_(buffer), capacity_(capacity) {}

  void reset();
  void put(uint8_t byte);  // any byte but the delimiter 0
  bool complete() const { return started_ && !overflow_ && remaining_ == 0; }
  size_t size() const { return size_; }  // decoded bytes in the buffer

 private:
  void append(uint8_t byte);

  uint8_t* buffer_;
  size_t capacity_;
  size_t size_ = 0;
  uint8_t remaining_ = 0;      // bytes still to come in this run
  bool zero_pending_ = false;  // this run ends with a zero, should another run follow
  bool started_ = false;
  bool overflow_ = false;
};

// Writes the pieces as one message, without delimiters and without a buffer of its size: each run is scanned, then
// sent from where it lies. The pieces must not change meanwhile. Returns the number of bytes written.
size_t cobs_encode(const Transport& transport, const Piece* pieces, size_t count);

}  // namespace link
