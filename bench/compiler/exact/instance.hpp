// Blocks in terms of sections.

#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "problem.hpp"

namespace exact {

// A block in sections [first, last). `padded` is its size rounded up to the gcd of all alignments: what it takes of a
// section as long as something lies upon it.
struct Item {
  int first;
  int last;
  std::int64_t size;
  std::int64_t padded;
  std::int64_t align;
};

inline bool overlap(const Item& a, const Item& b) { return a.first < b.last && b.first < a.last; }

inline std::int64_t align_up(std::int64_t offset, std::int64_t align) { return (offset + align - 1) / align * align; }

// Items are sorted by beginning; `source` is the index of the block that each was made of.
struct Instance {
  std::vector<Item> items;
  std::vector<std::size_t> source;
  int sections = 0;

  // Time is cut where blocks begin or end. With `useful_only`, a section whose blocks all live in a neighbouring one
  // too is left out.
  Instance(const std::vector<Block>& blocks, bool useful_only);
};

}  // namespace exact
