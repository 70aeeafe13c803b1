// What the exact placement is asked and what it answers.

#pragma once

#include <cstdint>
#include <vector>

namespace exact {

// Bytes and times may be of 64 bits, and products of them are compared.
__extension__ typedef __int128 Wide;

// Lives in [lower, upper) and lies at a multiple of `align`; 0 < size, lower < upper, 0 < align.
struct Block {
  std::int64_t lower;
  std::int64_t upper;
  std::int64_t size;
  std::int64_t align;
};

// Every rule of the search, as a bit. None changes the answer, only how soon it comes: solver.hpp says why.
enum Switch : std::uint32_t {
  kUsefulSections = 1u << 0,
  kDecomposition = 1u << 1,
  kSleep = 1u << 2,
  kSectionBound = 1u << 3,
  kDominance = 1u << 4,
  kSupport = 1u << 5,
  kStackOrder = 1u << 6,
  kBackjumping = 1u << 7,
  kPortfolio = 1u << 8,
  kAllSwitches = (1u << 9) - 1,
};

enum class Verdict : std::int32_t {
  kPlaced = 0,
  kInfeasible = 1,  // proved: no placement ends at or below the capacity
  kGaveUp = 2,      // the nodes were used up, or the caller asked to stop
};

struct Answer {
  Verdict verdict;
  std::int64_t nodes;                 // partial placements looked at
  std::vector<std::int64_t> offsets;  // by block, if placed
};

}  // namespace exact
