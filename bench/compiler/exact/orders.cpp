#include "orders.hpp"

#include <algorithm>
#include <array>
#include <numeric>
#include <tuple>

namespace exact {
namespace {

constexpr std::int64_t kFailuresOfASearch = 1 << 20;  // as many as each search's come to together

// splitmix64 (Steele, Lea, Flood, 2014).
class Generator {
 public:
  explicit Generator(std::uint64_t seed) : state_(seed) {}

  std::uint64_t draw() {
    state_ += 0x9e3779b97f4a7c15u;
    std::uint64_t mixed = state_;
    mixed = (mixed ^ (mixed >> 30)) * 0xbf58476d1ce4e5b9u;
    mixed = (mixed ^ (mixed >> 27)) * 0x94d049bb133111ebu;
    return mixed ^ (mixed >> 31);
  }

  template <std::size_t kCount>
  std::int64_t one_of(const std::array<std::int64_t, kCount>& choices) {
    return choices[draw() % kCount];
  }

 private:
  std::uint64_t state_;
};

// The position of each item if those with the greatest keys come first.
template <typename Key>
std::vector<std::int64_t> positions(const std::vector<Key>& keys) {
  std::vector<std::size_t> order(keys.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return keys[a] > keys[b]; });
  std::vector<std::int64_t> found(keys.size());
  for (std::size_t i = 0; i < order.size(); ++i) found[order[i]] = static_cast<std::int64_t>(i);
  return found;
}

}  // namespace

Orders::Orders(const Instance& instance, const std::vector<Block>& blocks)
    : count_(instance.items.size()), failures_(instance.items.size(), 0) {
  std::vector<Wide> live(static_cast<std::size_t>(instance.sections), 0);
  for (const Item& item : instance.items) {
    for (int s = item.first; s < item.last; ++s) live[static_cast<std::size_t>(s)] += item.size;
  }
  std::vector<std::tuple<Wide, Wide, Wide>> totals;
  std::vector<std::tuple<Wide, Wide, Wide>> widths;
  std::vector<std::tuple<Wide, Wide, Wide>> areas;
  std::vector<std::tuple<Wide, Wide, Wide>> large_totals;
  std::vector<std::int64_t> sizes;
  for (std::size_t i = 0; i < count_; ++i) {
    const Item& item = instance.items[i];
    const Block& block = blocks[instance.source[i]];
    const Wide total = *std::max_element(live.begin() + item.first, live.begin() + item.last);
    const Wide width = static_cast<Wide>(block.upper) - block.lower;
    const Wide area = width * item.size;
    totals.emplace_back(total, width, area);
    widths.emplace_back(width, area, total);
    areas.emplace_back(area, total, width);
    large_totals.emplace_back(total, area, width);
    sizes.push_back(item.size);
  }
  total_ = positions(totals);
  width_ = positions(widths);
  area_ = positions(areas);
  large_total_ = positions(large_totals);
  size_ = positions(sizes);
}

Order Orders::fixed(int which) const {
  const std::array<const Positions*, kFixed> positions = {&total_, &area_, &width_, &large_total_, &total_};
  const Positions& chosen = *positions[static_cast<std::size_t>(which)];
  return {std::vector<int>(chosen.begin(), chosen.end()), which == kFixed - 1 ? Reach::kBelowEnds : Reach::kLowest};
}

Order Orders::mixture(std::uint64_t which) const {
  Generator generator(which);
  const std::int64_t total = generator.one_of<8>({0, 8, 8, 8, 8, 8, 8, 8});
  const std::int64_t size = generator.one_of<8>({0, 4, 8, 16, 16, 20, 24, 28});
  const std::int64_t area = generator.one_of<6>({0, 0, 0, 0, 2, 8});
  const std::int64_t width = generator.one_of<6>({0, 0, 0, 0, 1, 4});
  const std::int64_t failures = generator.one_of<6>({0, 0, 0, 0, 4, 48});
  const std::uint64_t noise = generator.one_of<4>({0, 0, 0, 1}) == 0 ? 1 : count_;
  const Reach reach = generator.one_of<8>({0, 0, 0, 0, 0, 0, 0, 1}) == 0 ? Reach::kBelowEnds : Reach::kLowest;
  const Positions failed = positions(failures_);
  std::vector<std::int64_t> scores;
  for (std::size_t i = 0; i < count_; ++i) {
    const std::int64_t mixed =
        total * total_[i] + size * size_[i] + area * area_[i] + width * width_[i] + failures * failed[i];
    scores.push_back(-mixed - static_cast<std::int64_t>(generator.draw() % noise));
  }
  const Positions found = positions(scores);
  return {std::vector<int>(found.begin(), found.end()), reach};
}

void Orders::learn(const std::vector<std::int64_t>& failures) {
  const std::int64_t all = std::accumulate(failures.begin(), failures.end(), std::int64_t{1});
  for (std::size_t i = 0; i < count_; ++i) {
    const auto share = static_cast<std::int64_t>(static_cast<Wide>(failures[i]) * kFailuresOfASearch / all);
    failures_[i] = failures_[i] * 4 / 5 + share;
  }
}

}  // namespace exact
