// One depth-first search, in one order of preference. The rules and why they are safe: solver.hpp.

#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "instance.hpp"
#include "levels.hpp"
#include "orders.hpp"
#include "problem.hpp"

namespace exact {

class Search {
 public:
  // `stop` is read every thousand nodes; the references must outlive the search.
  Search(const Instance& instance, const Order& order, std::int64_t capacity, std::uint32_t switches,
         std::int64_t node_limit, const std::atomic<std::int32_t>& stop);

  Verdict run();

  std::int64_t nodes() const { return nodes_; }
  std::vector<std::int64_t> offsets() const;
  const std::vector<std::int64_t>& failures() const { return failures_; }

 private:
  using Items = std::vector<int>;  // by index, sorted by beginning

  // What is known of an item. `low`: lowest offset upon what is placed; `support` is the placed item that it is due
  // to. `bound`: no completion has it lower. `sleep`: row of the reasons for which it must not come next, -1 if awake.
  // `offset`, `level`: once it is placed.
  struct State {
    std::int64_t low = 0;
    std::int64_t bound = 0;
    std::int64_t offset = 0;
    int support = -1;
    int sleep = -1;
    int level = -1;
  };

  struct Change {
    int item;
    std::int64_t low;
    int support;
    int sleep;
  };

  struct Fitted {
    int item;
    std::int64_t bound;
  };

  struct Mark {
    std::size_t changes;
    std::size_t fitted;
    std::size_t placed;
    std::size_t sleeps;
  };

  bool on(Switch rule) const { return (switches_ & rule) != 0; }
  const Item& item(int index) const { return instance_.items[static_cast<std::size_t>(index)]; }
  State& state(int index) { return states_[static_cast<std::size_t>(index)]; }
  int rank(int index) const { return order_.rank[static_cast<std::size_t>(index)]; }
  std::int64_t top(int index) { return state(index).offset + item(index).size; }

  bool solve(const Items& open);
  bool branch(const Items& open);
  bool solve_parts(const Items& open);
  bool out_of_effort();
  int next(const Items& open);
  bool place(int index, const Items& open, Items& rest);
  void sleep(int index);

  bool bound_offsets(const Items& open);
  bool bound_asleep(const Items& open);
  std::int64_t raised(int index, std::int64_t end);
  bool none_sinks(const Items& open);
  bool bound_sections(const Items& open);
  void sections_to_check(const Items& open);
  bool wrong_stack(int index);
  bool may_swap(int below, int above);

  void blame_nothing();
  void blame_bound(int index, std::int64_t height, const Items& open);
  void blame_low(int index, std::int64_t height);
  void blame_sleep(int index);
  void blame_neighbours(int index, std::int64_t end, const Items& open);
  void blame_placed(int index);

  Mark mark() const { return {changes_.size(), fitted_.size(), placed_.size(), sleeps_.rows()}; }
  void note(int index);
  void undo(const Mark& to);

  const Instance& instance_;
  const Order& order_;
  const std::int64_t capacity_;
  const std::uint32_t switches_;
  const std::int64_t node_limit_;
  const std::atomic<std::int32_t>& stop_;

  std::int64_t nodes_ = 0;
  bool stopped_ = false;
  std::vector<State> states_;
  Items placed_;  // by level
  std::vector<Change> changes_;
  std::vector<std::int64_t> fits_;      // by item: the bound with which all its sections had room
  std::vector<Fitted> fitted_;          // what it was before
  LevelTable cones_;                    // by placed item: all decisions about what lies beneath it, and its own
  LevelTable sleeps_;                   // reasons, see State
  LevelTable conflict_;                 // one row: why the last node has no solution
  std::vector<std::int64_t> blamed_;    // by open item: the height that conflict_ has the reasons for
  std::vector<std::int64_t> failures_;  // by item: how often it was among those for which there was no room
  Items asleep_;
  Items highest_first_;
  std::vector<std::int64_t> used_;    // by section: padded bytes so far
  std::vector<std::int64_t> saving_;  // by section: the most padding of one of them
  std::vector<char> checked_;         // by section: whether something rose in it since it had room
};

}  // namespace exact
