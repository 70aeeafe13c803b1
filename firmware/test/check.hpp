// Tests that run where the firmware runs: `pio test -e ENV`. Each folder test_* is a program of its own: a table of
// cases, over everything that an image has but its command loop.
#pragma once

#include <cstddef>
#include <cstdint>

namespace check {

struct Case {
  const char* name;
  void (*run)();
};

// The folder's cases, in the order in which they run; nothing runs constructors of globals, so they are a table.
extern const Case kCases[];
extern const size_t kCaseCount;

// Says what was expected and where; the case goes on, and has failed.
void failed(const char* file, int line, const char* expected);
void failed(const char* file, int line, const char* expected, uint32_t found);

}  // namespace check

#define CHECK(condition)                                             \
  do {                                                               \
    if (!(condition)) check::failed(__FILE__, __LINE__, #condition); \
  } while (false)

// Of two numbers that fit 32 bits; what was found is told in hexadecimal.
#define CHECK_EQUAL(found, expected)                                           \
  do {                                                                         \
    const auto check_found = static_cast<uint32_t>(found);                     \
    if (check_found != static_cast<uint32_t>(expected))                        \
      check::failed(__FILE__, __LINE__, #found " == " #expected, check_found); \
  } while (false)
