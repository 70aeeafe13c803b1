// One depth-first search, in one order of preference. The rules and why they are safe: solver.hpp.

#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "instance.hpp"
#include "problem.hpp"

namespace exact {

class Search {
 public:
  // `stop` is read every thousand nodes; the references must outlive the search.
  Search(const Instance& instance, const std::vector<int>& ranks, std::int64_t capacity, std::uint32_t switches,
         std::int64_t node_limit, const std::atomic<std::int32_t>& stop);

  Verdict run();

  std::int64_t nodes() const { return nodes_; }
  const std::vector<std::int64_t>& offsets() const { return offset_; }

 private:
  using Items = std::vector<int>;  // by index, sorted by beginning

  // Offset and rank of the block that was placed last: what comes after it comes later in (offset, rank).
  struct Last {
    std::int64_t offset;
    int rank;
  };

  struct Raised {
    int item;
    std::int64_t from;
  };

  bool on(Switch rule) const { return (switches_ & rule) != 0; }
  const Item& item(int index) const { return instance_.items[static_cast<std::size_t>(index)]; }
  std::int64_t& low(int index) { return low_[static_cast<std::size_t>(index)]; }
  std::int64_t& bound(int index) { return bound_[static_cast<std::size_t>(index)]; }
  std::int64_t& offset(int index) { return offset_[static_cast<std::size_t>(index)]; }
  int rank(int index) const { return rank_[static_cast<std::size_t>(index)]; }

  bool solve(const Items& open, Last last);
  bool solve_parts(const Items& open, Last last);
  bool out_of_effort();
  bool skipped(int index, Last last);
  bool bound_offsets(const Items& open, Last last);
  bool bound_sections(const Items& open);
  Items candidates(const Items& open, Last last);
  bool wrong_stack(int index);
  bool may_swap(int below, int above);
  bool place(int index, const Items& open, Items& rest);
  void undo(std::size_t raised, std::size_t placed);

  const Instance& instance_;
  const std::vector<int>& rank_;
  const std::int64_t capacity_;
  const std::uint32_t switches_;
  const std::int64_t node_limit_;
  const std::atomic<std::int32_t>& stop_;

  std::int64_t nodes_ = 0;
  bool stopped_ = false;
  std::vector<std::int64_t> low_;     // lowest offset upon what is placed
  std::vector<std::int64_t> bound_;   // no completion has it lower: at least low_
  std::vector<std::int64_t> offset_;  // of what is placed
  std::vector<int> placed_;
  std::vector<Raised> raised_;
  std::vector<std::int64_t> used_;    // scratch, by section: padded bytes so far
  std::vector<std::int64_t> saving_;  // scratch, by section: the most padding of one of them
  std::int64_t section_limit_ = 0;    // no block may come next at an offset above
};

}  // namespace exact
