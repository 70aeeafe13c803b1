// Lines of log text without printf, which would bring a heap and several kilobytes of flash.
#pragma once

#include <cstddef>
#include <cstdint>

namespace text {

// A line that is cut, never overrun, when it grows too long.
class Line {
 public:
  Line& add(const char* string) {
    while (*string != '\0') put(*string++);
    return *this;
  }
  Line& add_hex(uint32_t value) {
    add("0x");
    for (int shift = 28; shift >= 0; shift -= 4) put("0123456789abcdef"[(value >> shift) & 0xF]);
    return *this;
  }
  Line& add_decimal(uint32_t value) {
    char digits[10];
    size_t n = 0;
    do {
      digits[n++] = static_cast<char>('0' + value % 10);
      value /= 10;
    } while (value != 0);
    while (n > 0) put(digits[--n]);
    return *this;
  }
  // Ends the line; valid as long as this object.
  const char* end() {
    text_[length_] = '\n';
    text_[length_ + 1] = '\0';
    return text_;
  }

 private:
  void put(char c) {
    if (length_ < sizeof text_ - 2) text_[length_++] = c;
  }
  char text_[120] = {};
  size_t length_ = 0;
};

}  // namespace text
