#include "search.hpp"

#include <algorithm>
#include <limits>

namespace exact {
namespace {

constexpr std::int64_t kNodesBetweenLooks = 1024;
constexpr std::int64_t kNever = std::numeric_limits<std::int64_t>::max();

std::size_t as_size(int index) { return static_cast<std::size_t>(index); }

}  // namespace

Search::Search(const Instance& instance, const Order& order, std::int64_t capacity, std::uint32_t switches,
               std::int64_t node_limit, const std::atomic<std::int32_t>& stop)
    : instance_(instance),
      order_(order),
      capacity_(capacity),
      switches_(switches),
      node_limit_(node_limit),
      stop_(stop),
      states_(instance.items.size()),
      cones_(instance.items.size(), instance.items.size()),
      sleeps_(0, instance.items.size()),
      conflict_(1, instance.items.size()),
      blamed_(instance.items.size(), 0),
      fits_(instance.items.size(), -1),
      failures_(instance.items.size(), 0),
      used_(as_size(instance.sections), 0),
      saving_(as_size(instance.sections), 0),
      checked_(as_size(instance.sections), 0) {}

Verdict Search::run() {
  Items open;
  for (std::size_t i = 0; i < instance_.items.size(); ++i) {
    if (instance_.items[i].size > capacity_) return Verdict::kInfeasible;
    open.push_back(static_cast<int>(i));
  }
  if (solve_parts(open)) return Verdict::kPlaced;
  return stopped_ ? Verdict::kGaveUp : Verdict::kInfeasible;
}

std::vector<std::int64_t> Search::offsets() const {
  std::vector<std::int64_t> found;
  for (const State& each : states_) found.push_back(each.offset);
  return found;
}

// Splits the open items where none of them lives, and solves the parts, the smallest first: it is the cheapest to
// fail. All of the placed items stay as they are if one part has no solution; the caller takes them back.
bool Search::solve_parts(const Items& open) {
  if (!on(kDecomposition)) return solve(open);
  std::vector<Items> parts;
  int reach = -1;
  for (const int index : open) {
    if (item(index).first >= reach) parts.emplace_back();
    parts.back().push_back(index);
    reach = std::max(reach, item(index).last);
  }
  std::stable_sort(parts.begin(), parts.end(), [](const Items& a, const Items& b) { return a.size() < b.size(); });
  return std::all_of(parts.begin(), parts.end(), [&](const Items& part) { return solve(part); });
}

// Places all open items upon those that are placed. If it cannot be done, all is as before and conflict_ tells which
// decisions are to blame, unless the search was stopped.
bool Search::solve(const Items& open) {
  if (open.empty()) return true;
  const Mark before = mark();
  const bool solved = branch(open);
  if (!solved) undo(before);
  return solved;
}

bool Search::branch(const Items& open) {
  Items rest;
  while (true) {
    if (out_of_effort() || !bound_offsets(open) || !bound_sections(open)) return false;
    const int index = next(open);
    if (index < 0) {  // some open item is the lowest, but each of them has something beneath it
      blame_nothing();
      for (const int each : open) blame_sleep(each);
      return false;
    }
    if (on(kStackOrder) && wrong_stack(index)) {
      blame_nothing();
      blame_placed(index);
      sleep(index);
      continue;
    }
    const Mark before = mark();
    const std::size_t level = placed_.size();
    if (place(index, open, rest) && solve_parts(rest)) return true;
    undo(before);
    if (stopped_) return false;
    if (on(kBackjumping) && !conflict_.has(0, level)) return false;
    conflict_.remove_level(0, level);
    sleep(index);
  }
}

bool Search::out_of_effort() {
  if (nodes_ >= node_limit_ || (nodes_ % kNodesBetweenLooks == 0 && stop_.load(std::memory_order_relaxed) != 0)) {
    stopped_ = true;
    return true;
  }
  ++nodes_;
  return false;
}

// The item to be placed next: the most preferred of those that are awake and begin below a limit. -1 if all are asleep.
int Search::next(const Items& open) {
  std::int64_t lowest = kNever;
  std::int64_t limit = kNever;
  for (const int index : open) {
    if (state(index).sleep < 0) lowest = std::min(lowest, state(index).low);
    limit = std::min(limit, state(index).bound + item(index).size);
  }
  limit = order_.reach == Reach::kLowest ? lowest : std::max(lowest, limit - 1);
  int best = -1;
  for (const int index : open) {
    if (state(index).sleep >= 0 || state(index).low > limit) continue;
    if (best < 0 || rank(index) < rank(best)) best = index;
  }
  return best;
}

// Puts an item to its lowest offset; false if another one then has no room left. `rest` becomes what is open after it.
bool Search::place(int index, const Items& open, Items& rest) {
  State& own = state(index);
  own.offset = own.low;
  own.level = static_cast<int>(placed_.size());
  blame_nothing();
  blame_placed(index);
  conflict_.add_level(0, placed_.size());
  cones_.copy(as_size(index), conflict_.row(0));
  placed_.push_back(index);
  rest.clear();
  for (const int other : open) {
    if (other == index) continue;
    rest.push_back(other);
    const bool touched = overlap(item(other), item(index));
    State& its = state(other);
    if (!touched && (on(kSleep) || its.sleep < 0)) continue;
    if (its.sleep < 0 && its.low >= top(index)) continue;
    note(other);
    its.sleep = -1;
    if (!touched || its.low >= top(index)) continue;
    its.low = align_up(top(index), item(other).align);
    its.support = index;
    if (its.low + item(other).size > capacity_) {
      blame_nothing();
      blame_low(other, capacity_ - item(other).size + 1);
      ++failures_[as_size(other)];
      return false;
    }
  }
  return true;
}

// Keeps an item from coming next until something that it lives with is placed, for the reasons in conflict_.
void Search::sleep(int index) {
  note(index);
  state(index).sleep = static_cast<int>(sleeps_.rows());
  sleeps_.resize(sleeps_.rows() + 1);
  sleeps_.copy(sleeps_.rows() - 1, conflict_.row(0));
}

void Search::note(int index) {
  const State& its = state(index);
  changes_.push_back({index, its.low, its.support, its.sleep});
}

void Search::undo(const Mark& to) {
  while (changes_.size() > to.changes) {
    const Change& change = changes_.back();
    State& its = state(change.item);
    its.low = change.low;
    its.support = change.support;
    its.sleep = change.sleep;
    changes_.pop_back();
  }
  while (fitted_.size() > to.fitted) {
    fits_[as_size(fitted_.back().item)] = fitted_.back().bound;
    fitted_.pop_back();
  }
  placed_.resize(to.placed);
  sleeps_.resize(to.sleeps);
}

}  // namespace exact
