// The rules that cut nodes off, and whom they blame. Each false leaves in conflict_ the decisions that it follows from.

#include <algorithm>
#include <cstddef>
#include <limits>

#include "search.hpp"

namespace exact {
namespace {

constexpr std::int64_t kNever = std::numeric_limits<std::int64_t>::max();

// The lowest end which, rounded up, is at `height` or above.
std::int64_t unrounded(std::int64_t height, std::int64_t align) { return align_up(height, align) - align + 1; }

}  // namespace

// The lowest offset that each open item can still have. False if one has none.
bool Search::bound_offsets(const Items& open) {
  asleep_.clear();
  for (const int index : open) {
    state(index).bound = state(index).low;
    if (state(index).sleep >= 0) asleep_.push_back(index);
  }
  if (on(kSupport) && !bound_asleep(open)) return false;
  return !on(kDominance) || none_sinks(open);
}

// Items that sleep will lie upon open ones that they live with. Shortest paths, as Dijkstra finds them: from the items
// that are awake upwards, each item that is settled telling those upon it.
bool Search::bound_asleep(const Items& open) {
  for (const int index : asleep_) {
    std::int64_t support = kNever;
    for (const int other : open) {
      if (state(other).sleep >= 0 || !overlap(item(other), item(index))) continue;
      support = std::min(support, state(other).bound + item(other).size);
    }
    state(index).bound = raised(index, support);
  }
  for (std::size_t settled = 0; settled < asleep_.size(); ++settled) {
    const auto from = asleep_.begin() + static_cast<std::ptrdiff_t>(settled);
    const auto least = std::min_element(from, asleep_.end(), [&](int a, int b) {
      return state(a).bound != state(b).bound ? state(a).bound < state(b).bound : a < b;
    });
    std::iter_swap(from, least);
    const int index = asleep_[settled];
    if (state(index).bound > capacity_ - item(index).size) {
      blame_nothing();
      blame_bound(index, capacity_ - item(index).size + 1, open);
      ++failures_[static_cast<std::size_t>(index)];
      return false;
    }
    for (std::size_t rest = settled + 1; rest < asleep_.size(); ++rest) {
      const int other = asleep_[rest];
      if (!overlap(item(other), item(index))) continue;
      state(other).bound = std::min(state(other).bound, raised(other, state(index).bound + item(index).size));
    }
  }
  return true;
}

// An item's lowest offset upon a support that ends at `end`. Ends above the capacity would overflow when rounded up.
std::int64_t Search::raised(int index, std::int64_t end) {
  return end > capacity_ ? kNever : std::max(state(index).low, align_up(end, item(index).align));
}

// Whether no item that sleeps fits beneath all open ones that it lives with: it would sink to its lowest offset.
bool Search::none_sinks(const Items& open) {
  for (const int index : asleep_) {
    const std::int64_t end = state(index).low + item(index).size;
    const bool sinks = std::all_of(open.begin(), open.end(), [&](int other) {
      return other == index || state(other).bound >= end || !overlap(item(other), item(index));
    });
    if (!sinks) continue;
    blame_nothing();
    blame_sleep(index);
    for (const int other : open) {
      if (other != index && overlap(item(other), item(index))) blame_bound(other, end, open);
    }
    blame_placed(index);
    return false;
  }
  return true;
}

// Whether in every section, for every height, what can only lie above it fits there. Only sections where something
// has risen since it last did need another look.
bool Search::bound_sections(const Items& open) {
  if (!on(kSectionBound)) return true;
  sections_to_check(open);
  for (std::size_t i = 0; i < highest_first_.size(); ++i) {
    const Item& it = item(highest_first_[i]);
    const std::int64_t room = capacity_ - state(highest_first_[i]).bound;
    for (int s = it.first; s < it.last; ++s) {
      const auto at = static_cast<std::size_t>(s);
      if (checked_[at] == 0) continue;
      used_[at] += it.padded;
      saving_[at] = std::max(saving_[at], it.padded - it.size);
      if (used_[at] - saving_[at] <= room) continue;
      blame_nothing();
      const std::int64_t height = capacity_ - used_[at] + saving_[at] + 1;  // from which they do not fit
      for (std::size_t above = 0; above <= i; ++above) {
        const int index = highest_first_[above];
        if (item(index).first > s || s >= item(index).last) continue;
        blame_bound(index, height, open);
        ++failures_[static_cast<std::size_t>(index)];
      }
      return false;
    }
  }
  for (const int index : highest_first_) {
    std::int64_t& fits = fits_[static_cast<std::size_t>(index)];
    if (fits >= state(index).bound) continue;
    fitted_.push_back({index, fits});
    fits = state(index).bound;
  }
  return true;
}

// Sets checked_ and empties these sections; highest_first_ becomes what lives in them.
void Search::sections_to_check(const Items& open) {
  std::fill(checked_.begin(), checked_.end(), char{0});
  for (const int index : open) {
    if (fits_[static_cast<std::size_t>(index)] >= state(index).bound) continue;
    std::fill(checked_.begin() + item(index).first, checked_.begin() + item(index).last, char{1});
    std::fill(used_.begin() + item(index).first, used_.begin() + item(index).last, 0);
    std::fill(saving_.begin() + item(index).first, saving_.begin() + item(index).last, 0);
  }
  highest_first_.clear();
  for (const int index : open) {
    const auto from = checked_.begin() + item(index).first;
    const auto to = checked_.begin() + item(index).last;
    if (std::find(from, to, char{1}) != to) highest_first_.push_back(index);
  }
  std::sort(highest_first_.begin(), highest_first_.end(),
            [&](int a, int b) { return state(a).bound != state(b).bound ? state(a).bound > state(b).bound : a < b; });
}

// Whether the item would lie directly upon one that should rather lie upon it.
bool Search::wrong_stack(int index) {
  return std::any_of(placed_.rbegin(), placed_.rend(), [&](int below) { return may_swap(below, index); });
}

bool Search::may_swap(int below, int above) {
  const Item& lower = item(below);
  const Item& upper = item(above);
  const std::int64_t offset = state(below).offset;
  if (top(below) != state(above).low || lower.first < upper.first || lower.last > upper.last) return false;
  if (offset % upper.align != 0 || (offset + upper.size) % lower.align != 0) return false;
  if (lower.first == upper.first && lower.last == upper.last) return rank(above) < rank(below);
  return std::all_of(placed_.begin(), placed_.end(),
                     [&](int other) { return other == below || !overlap(item(other), upper) || top(other) <= offset; });
}

void Search::blame_nothing() {
  conflict_.clear(0);
  std::fill(blamed_.begin(), blamed_.end(), std::int64_t{0});
}

// For an open item's lying at `height` or above.
void Search::blame_bound(int index, std::int64_t height, const Items& open) {
  std::int64_t& blamed = blamed_[static_cast<std::size_t>(index)];
  if (blamed >= height) return;
  blamed = height;
  if (state(index).low >= height) {
    blame_low(index, height);
  } else {
    blame_sleep(index);
    blame_neighbours(index, unrounded(height, item(index).align), open);
  }
}

// For an item's being pushed up to `height` or above by placed ones.
void Search::blame_low(int index, std::int64_t height) {
  while (height > 0) {
    height = unrounded(height, item(index).align);
    index = state(index).support;
    conflict_.add_level(0, static_cast<std::size_t>(state(index).level));
    height -= item(index).size;
  }
}

void Search::blame_sleep(int index) {
  const int row = state(index).sleep;
  if (row >= 0) conflict_.add(0, sleeps_.row(static_cast<std::size_t>(row)));
}

// For the ends of all open items that an item lives with being at `end` or above.
void Search::blame_neighbours(int index, std::int64_t end, const Items& open) {
  for (const int other : open) {
    if (other == index || !overlap(item(other), item(index))) continue;
    blame_bound(other, end - item(other).size, open);
  }
}

// For the offsets of all placed items that live with it.
void Search::blame_placed(int index) {
  for (const int other : placed_) {
    if (overlap(item(other), item(index))) conflict_.add(0, cones_.row(static_cast<std::size_t>(other)));
  }
}

}  // namespace exact
