// A byte queue from one interrupt handler to one thread, without locks: each side writes one index only.
#pragma once

#include <cstdint>

namespace hal {

template <uint32_t kSize>
class Ring {
  static_assert(kSize >= 256 && (kSize & (kSize - 1)) == 0, "a power of two");

 public:
  bool empty() const { return head_ == tail_; }

  bool push(uint8_t byte) {  // by the handler only; false when full
    const uint32_t head = head_;
    if (head - tail_ == kSize) return false;
    bytes_[head & (kSize - 1)] = byte;
    __asm volatile("" ::: "memory");  // the byte before the index: one core, so ordering the compiler is enough
    head_ = head + 1;
    return true;
  }

  bool pop(uint8_t& byte) {  // by the thread only; false when empty
    const uint32_t tail = tail_;
    if (head_ == tail) return false;
    __asm volatile("" ::: "memory");  // the index before the byte
    byte = bytes_[tail & (kSize - 1)];
    __asm volatile("" ::: "memory");
    tail_ = tail + 1;
    return true;
  }

 private:
  volatile uint32_t head_ = 0;
  volatile uint32_t tail_ = 0;
  uint8_t bytes_[kSize] = {};
};

}  // namespace hal
