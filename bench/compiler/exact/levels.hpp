// Sets of decisions, by level.

#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace exact {

// A table of sets of levels 0 .. levels - 1, by row.
class LevelTable {
 public:
  LevelTable(std::size_t rows, std::size_t levels) : words_(levels / 64 + 1), bits_(rows * words_, 0) {}

  std::uint64_t* row(std::size_t index) { return bits_.data() + index * words_; }
  const std::uint64_t* row(std::size_t index) const { return bits_.data() + index * words_; }
  void resize(std::size_t rows) { bits_.resize(rows * words_, 0); }
  std::size_t rows() const { return bits_.size() / words_; }

  void clear(std::size_t index) { std::fill_n(row(index), words_, 0); }
  void copy(std::size_t index, const std::uint64_t* from) { std::copy_n(from, words_, row(index)); }
  void add(std::size_t index, const std::uint64_t* other) {
    std::uint64_t* own = row(index);
    for (std::size_t word = 0; word < words_; ++word) own[word] |= other[word];
  }
  void add_level(std::size_t index, std::size_t level) { row(index)[level / 64] |= std::uint64_t{1} << level % 64; }
  void remove_level(std::size_t index, std::size_t level) {
    row(index)[level / 64] &= ~(std::uint64_t{1} << level % 64);
  }
  bool has(std::size_t index, std::size_t level) const { return (row(index)[level / 64] >> level % 64 & 1) != 0; }

 private:
  std::size_t words_;
  std::vector<std::uint64_t> bits_;
};

}  // namespace exact
