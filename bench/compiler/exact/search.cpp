#include "search.hpp"

#include <algorithm>
#include <limits>

namespace exact {
namespace {

constexpr std::int64_t kNever = std::numeric_limits<std::int64_t>::max();
constexpr std::int64_t kNodesBetweenLooks = 1024;

}  // namespace

Search::Search(const Instance& instance, const std::vector<int>& ranks, std::int64_t capacity, std::uint32_t switches,
               std::int64_t node_limit, const std::atomic<std::int32_t>& stop)
    : instance_(instance),
      rank_(ranks),
      capacity_(capacity),
      switches_(switches),
      node_limit_(node_limit),
      stop_(stop),
      low_(instance.items.size(), 0),
      bound_(instance.items.size(), 0),
      offset_(instance.items.size(), 0),
      used_(static_cast<std::size_t>(instance.sections), 0),
      saving_(static_cast<std::size_t>(instance.sections), 0) {}

Verdict Search::run() {
  Items open;
  for (std::size_t i = 0; i < instance_.items.size(); ++i) {
    if (instance_.items[i].size > capacity_) return Verdict::kInfeasible;
    open.push_back(static_cast<int>(i));
  }
  if (solve_parts(open, {0, -1})) return Verdict::kPlaced;
  return stopped_ ? Verdict::kGaveUp : Verdict::kInfeasible;
}

// Splits the open blocks where none of them lives, and solves the parts, the smallest first: it is the cheapest to
// fail. All of the placed blocks stay as they are if one part has no solution; the caller takes them back.
bool Search::solve_parts(const Items& open, Last last) {
  if (!on(kDecomposition)) return solve(open, last);
  std::vector<Items> parts;
  int reach = -1;
  for (const int index : open) {
    if (item(index).first >= reach) parts.emplace_back();
    parts.back().push_back(index);
    reach = std::max(reach, item(index).last);
  }
  std::stable_sort(parts.begin(), parts.end(), [](const Items& a, const Items& b) { return a.size() < b.size(); });
  return std::all_of(parts.begin(), parts.end(), [&](const Items& part) { return solve(part, last); });
}

// Places all open blocks upon those that are placed, or tells that it cannot be done below this node.
bool Search::solve(const Items& open, Last last) {
  if (open.empty()) return true;
  if (out_of_effort() || !bound_offsets(open, last) || !bound_sections(open)) return false;
  const std::size_t raised = raised_.size();
  const std::size_t placed = placed_.size();
  Items rest;
  for (const int index : candidates(open, last)) {
    if (on(kStackOrder) && wrong_stack(index)) continue;
    const Last next = on(kCanonicalOrder) ? Last{low(index), rank(index)} : last;
    if (place(index, open, rest) && solve_parts(rest, next)) return true;
    undo(raised, placed);
    if (stopped_) return false;
  }
  return false;
}

bool Search::out_of_effort() {
  if (nodes_ >= node_limit_ || (nodes_ % kNodesBetweenLooks == 0 && stop_.load(std::memory_order_relaxed) != 0)) {
    stopped_ = true;
    return true;
  }
  ++nodes_;
  return false;
}

// Whether others were placed before it although it could have come first: it lies higher than low() then.
bool Search::skipped(int index, Last last) {
  return low(index) < last.offset || (low(index) == last.offset && rank(index) < last.rank);
}

// The lowest offset that each open block can still have. False if one has none.
bool Search::bound_offsets(const Items& open, Last last) {
  for (const int index : open) bound(index) = std::max(low(index), align_up(last.offset, item(index).align));
  if (!on(kSupport)) return true;
  for (const int index : open) {
    if (!skipped(index, last)) continue;
    std::int64_t support = kNever;
    for (const int other : open) {
      if (other == index || !overlap(item(other), item(index))) continue;
      support = std::min(support, bound(other) + item(other).size);
    }
    if (support > capacity_) return false;
    support = align_up(support, item(index).align);
    bound(index) = std::max(bound(index), support);
    if (bound(index) + item(index).size > capacity_) return false;
  }
  return true;
}

// Whether in every section, for every height, what can only lie above it fits there. Also finds how low the next
// block must be placed for this to hold.
bool Search::bound_sections(const Items& open) {
  section_limit_ = kNever;
  if (!on(kSectionBound)) return true;
  Items highest_first(open);
  std::sort(highest_first.begin(), highest_first.end(),
            [&](int a, int b) { return bound(a) != bound(b) ? bound(a) > bound(b) : a < b; });
  for (const int index : open) {
    std::fill(used_.begin() + item(index).first, used_.begin() + item(index).last, 0);
    std::fill(saving_.begin() + item(index).first, saving_.begin() + item(index).last, 0);
  }
  for (const int index : highest_first) {
    const Item& it = item(index);
    const std::int64_t room = capacity_ - bound(index);
    for (auto s = static_cast<std::size_t>(it.first); s < static_cast<std::size_t>(it.last); ++s) {
      used_[s] += it.padded;
      saving_[s] = std::max(saving_[s], it.padded - it.size);
      if (used_[s] - saving_[s] > room) return false;
    }
  }
  for (const int index : open) {
    for (auto s = static_cast<std::size_t>(item(index).first); s < static_cast<std::size_t>(item(index).last); ++s) {
      section_limit_ = std::min(section_limit_, capacity_ - used_[s] + saving_[s]);
    }
  }
  return true;
}

// The blocks that may come next, the lowest first, then the most preferred.
Search::Items Search::candidates(const Items& open, Last last) {
  std::int64_t lowest_top = kNever;
  for (const int index : open) lowest_top = std::min(lowest_top, low(index) + item(index).size);
  Items found;
  if (on(kDominance) && lowest_top <= last.offset) return found;
  for (const int index : open) {
    const bool dominated = on(kDominance) && low(index) >= lowest_top;
    const bool too_high = on(kCanonicalOrder) && low(index) > section_limit_;
    if (!dominated && !too_high && !skipped(index, last)) found.push_back(index);
  }
  std::sort(found.begin(), found.end(),
            [&](int a, int b) { return low(a) != low(b) ? low(a) < low(b) : rank(a) < rank(b); });
  return found;
}

// Whether the block would lie directly upon one that should rather lie upon it.
bool Search::wrong_stack(int index) {
  return std::any_of(placed_.rbegin(), placed_.rend(), [&](int below) { return may_swap(below, index); });
}

bool Search::may_swap(int below, int above) {
  const Item& lower = item(below);
  const Item& upper = item(above);
  if (offset(below) + lower.size != low(above) || lower.first < upper.first || lower.last > upper.last) return false;
  if (offset(below) % upper.align != 0 || (offset(below) + upper.size) % lower.align != 0) return false;
  if (lower.first == upper.first && lower.last == upper.last) return rank(above) < rank(below);
  return std::all_of(placed_.begin(), placed_.end(), [&](int other) {
    return other == below || !overlap(item(other), upper) || offset(other) + item(other).size <= offset(below);
  });
}

// Puts a block to its lowest offset; false if another one then has no room left. `rest` becomes what is open after it.
bool Search::place(int index, const Items& open, Items& rest) {
  const std::int64_t end = low(index) + item(index).size;
  offset(index) = low(index);
  placed_.push_back(index);
  rest.clear();
  for (const int other : open) {
    if (other == index) continue;
    rest.push_back(other);
    if (low(other) >= end || !overlap(item(other), item(index))) continue;
    raised_.push_back({other, low(other)});
    low(other) = align_up(end, item(other).align);
    if (low(other) + item(other).size > capacity_) return false;
  }
  return true;
}

void Search::undo(std::size_t raised, std::size_t placed) {
  while (raised_.size() > raised) {
    low(raised_.back().item) = raised_.back().from;
    raised_.pop_back();
  }
  placed_.resize(placed);
}

}  // namespace exact
