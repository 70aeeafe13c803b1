#include "link/crc32.hpp"

namespace link {
namespace {

// Entry n is n shifted out through four steps of the reflected polynomial.
constexpr uint32_t entry(uint32_t n) {
  for (int bit = 0; bit < 4; ++bit) n = (n & 1U) != 0 ? (n >> 1) ^ 0xEDB88320U : n >> 1;
  return n;
}

constexpr uint32_t kTable[16] = {entry(0), entry(1), entry(2),  entry(3),  entry(4),  entry(5),  entry(6),  entry(7),
                                 entry(8), entry(9), entry(10), entry(11), entry(12), entry(13), entry(14), entry(15)};

}  // namespace

void Crc32::update(const uint8_t* data, size_t size) {
  uint32_t state = state_;
  for (size_t i = 0; i < size; ++i) {
    state ^= data[i];
    state = (state >> 4) ^ kTable[state & 0xFU];
    state = (state >> 4) ^ kTable[state & 0xFU];
  }
  state_ = state;
}

}  // namespace link
