// Streams of bit fields: a field of `width` bits follows the one before, its lowest bit first, and the first bit of a
// stream is the lowest of its first byte. What is left of the last byte is zero.
//
// In a loop, work on a copy of the writer or reader and store it back: it then lies in registers, while a store through
// a byte pointer could otherwise write to its members.
#pragma once

#include <cstdint>

namespace federation {

class BitWriter {
 public:
  // The caller answers for the room.
  explicit BitWriter(uint8_t* out) : next_(out) {}

  // value < 2^width, width <= 24.
  [[gnu::always_inline]] void put(uint32_t value, uint32_t width) {
    pending_ |= value << filled_;
    filled_ += width;
    while (filled_ >= 8) {
      *next_++ = static_cast<uint8_t>(pending_);
      pending_ >>= 8;
      filled_ -= 8;
    }
  }

  // `zeros` zeros and a one.
  [[gnu::always_inline]] void put_unary(uint32_t zeros) {
    for (; zeros >= 16; zeros -= 16) put(0, 16);
    put(1U << zeros, zeros + 1);
  }

  // Where the stream ends.
  uint8_t* finish() {
    if (filled_ != 0) put(0, 8 - filled_);
    return next_;
  }

 private:
  uint8_t* next_;
  uint32_t pending_ = 0;  // the fields that do not fill a byte yet
  uint32_t filled_ = 0;   // bits of these, below 8
};

// Never reads past the end: what is asked for beyond it is zero, and failed() tells.
class BitReader {
 public:
  BitReader(const uint8_t* data, uint32_t size) : next_(data), end_(data + size) {}

  // width <= 32.
  uint32_t take_wide(uint32_t width) {
    if (width <= 24) return take(width);
    const uint32_t low = take(16);
    return low | take(width - 16) << 16;
  }

  // width <= 24.
  uint32_t take(uint32_t width) {
    while (available_ < width && refill()) {
    }
    if (available_ < width) {
      fail();
      return 0;
    }
    const uint32_t value = pending_ & ((1U << width) - 1);
    pending_ >>= width;
    available_ -= width;
    return value;
  }

  // How many zeros come before the next one, which is taken too. More than `most` is a failure.
  uint32_t take_unary(uint32_t most) {
    uint32_t zeros = 0;
    while (pending_ == 0) {
      zeros += available_;
      available_ = 0;
      if (zeros > most || !refill()) {
        fail();
        return 0;
      }
    }
    while ((pending_ & 1) == 0) {
      pending_ >>= 1;
      --available_;
      ++zeros;
    }
    pending_ >>= 1;
    --available_;
    if (zeros > most) fail();
    return zeros;
  }

  void fail() { failed_ = true; }
  bool failed() const { return failed_; }

  // Whether what was taken is all that there is, but for zeros that fill the last byte.
  bool finished() const { return !failed_ && next_ == end_ && available_ < 8 && pending_ == 0; }

 private:
  bool refill() {
    if (next_ == end_) return false;
    pending_ |= static_cast<uint32_t>(*next_++) << available_;
    available_ += 8;
    return true;
  }

  const uint8_t* next_;
  const uint8_t* end_;
  uint32_t pending_ = 0;  // bits above `available_` are zero
  uint32_t available_ = 0;
  bool failed_ = false;
};

// Signed numbers as unsigned ones that are small when they are: 0, -1, 1, -2, 2 ... become 0, 1, 2, 3, 4 ...
constexpr uint32_t zigzag(int32_t value) {
  return (static_cast<uint32_t>(value) << 1) ^ static_cast<uint32_t>(value >> 31);
}
constexpr int32_t from_zigzag(uint32_t code) { return static_cast<int32_t>((code >> 1) ^ (0U - (code & 1))); }

}  // namespace federation
