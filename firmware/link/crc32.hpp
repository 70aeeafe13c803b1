// CRC-32 as zlib computes it (reflected polynomial 0xEDB88320, initial value and final xor 0xFFFFFFFF), four bits at
// a time: a table of 64 bytes of flash instead of 1 KB, for about twice the time.
#pragma once

#include <cstddef>
#include <cstdint>

namespace link {

class Crc32 {
 public:
  // May be called any number of times; `data` may be null when `size` is 0.
  void update(const uint8_t* data, size_t size);
  // The CRC of all bytes so far; more may follow.
  uint32_t value() const { return ~state_; }

 private:
  uint32_t state_ = 0xFFFFFFFFU;
};

inline uint32_t crc32(const uint8_t* data, size_t size) {
  Crc32 crc;
  crc.update(data, size);
  return crc.value();
}

}  // namespace link
