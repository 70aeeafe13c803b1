#include "solver.hpp"

#include <algorithm>
#include <cstddef>
#include <numeric>

#include "instance.hpp"
#include "orders.hpp"
#include "search.hpp"

namespace exact {
namespace {

constexpr std::int64_t kFirstTurn = 4;     // nodes for each block
constexpr std::int64_t kMixedShare = 2;    // nodes of mixtures for each of the fixed orders
constexpr std::int64_t kMixtureTurn = 40;  // the same, for the first mixture; the next get more

// Blocks by index, in groups that have no time in common; the smallest group first.
std::vector<std::vector<std::size_t>> parts_of(const std::vector<Block>& blocks, bool split) {
  std::vector<std::size_t> order(blocks.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  if (!split) return {order};
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return blocks[a].lower < blocks[b].lower; });
  std::vector<std::vector<std::size_t>> parts;
  std::int64_t reach = 0;
  for (const std::size_t index : order) {
    if (parts.empty() || blocks[index].lower >= reach) parts.emplace_back();
    reach = parts.back().empty() ? blocks[index].upper : std::max(reach, blocks[index].upper);
    parts.back().push_back(index);
  }
  std::stable_sort(parts.begin(), parts.end(), [](const auto& a, const auto& b) { return a.size() < b.size(); });
  return parts;
}

// The searches for one part: whichever ends first answers.
class Portfolio {
 public:
  Portfolio(const std::vector<Block>& blocks, std::int64_t capacity, std::uint32_t switches, std::int64_t node_limit,
            const std::atomic<std::int32_t>& stop)
      : instance_(blocks, (switches & kUsefulSections) != 0),
        orders_(instance_, blocks),
        capacity_(capacity),
        switches_(switches),
        node_limit_(node_limit),
        stop_(stop) {}

  Answer run() {
    if ((switches_ & kPortfolio) == 0) {  // the order that leaves most open: what proofs without it are tested with
      try_order(orders_.fixed(Orders::kFixed - 1), node_limit_);
      return answer_;
    }
    const auto count = static_cast<std::int64_t>(instance_.items.size());
    std::int64_t turn = kFirstTurn * count;
    std::uint64_t mixtures = 0;
    std::int64_t mixed = 0;
    while (going()) {
      for (int which = 0; which < Orders::kFixed && going(); ++which) try_order(orders_.fixed(which), turn);
      while (mixed / kMixedShare < answer_.nodes - mixed && going()) {
        const std::int64_t before = answer_.nodes;
        try_order(orders_.mixture(mixtures), kMixtureTurn * count + static_cast<std::int64_t>(mixtures) * count / 8);
        mixed += answer_.nodes - before;
        ++mixtures;
      }
      turn = turn > node_limit_ / 2 ? node_limit_ : 2 * turn;
    }
    return answer_;
  }

 private:
  bool going() const {
    return answer_.verdict == Verdict::kGaveUp && answer_.nodes < node_limit_ &&
           stop_.load(std::memory_order_relaxed) == 0;
  }

  void try_order(const Order& order, std::int64_t turn) {
    Search search(instance_, order, capacity_, switches_, std::min(turn, node_limit_ - answer_.nodes), stop_);
    answer_.verdict = search.run();
    answer_.nodes += search.nodes();
    orders_.learn(search.failures());
    if (answer_.verdict == Verdict::kGaveUp) return;
    const std::vector<std::int64_t> offsets = search.offsets();
    answer_.offsets.resize(offsets.size());
    for (std::size_t i = 0; i < offsets.size(); ++i) answer_.offsets[instance_.source[i]] = offsets[i];
  }

  const Instance instance_;
  Orders orders_;
  const std::int64_t capacity_;
  const std::uint32_t switches_;
  const std::int64_t node_limit_;
  const std::atomic<std::int32_t>& stop_;
  Answer answer_{Verdict::kGaveUp, 0, {}};
};

}  // namespace

Answer solve(const std::vector<Block>& blocks, std::int64_t capacity, std::uint32_t switches, std::int64_t node_limit,
             const std::atomic<std::int32_t>& stop) {
  Answer whole{Verdict::kPlaced, 0, std::vector<std::int64_t>(blocks.size(), 0)};
  for (const std::vector<std::size_t>& part : parts_of(blocks, (switches & kDecomposition) != 0)) {
    std::vector<Block> own;
    own.reserve(part.size());
    for (const std::size_t index : part) own.push_back(blocks[index]);
    const Answer answer = Portfolio(own, capacity, switches, node_limit - whole.nodes, stop).run();
    whole.nodes += answer.nodes;
    if (answer.verdict == Verdict::kInfeasible) return {Verdict::kInfeasible, whole.nodes, {}};
    if (answer.verdict == Verdict::kGaveUp) return {Verdict::kGaveUp, whole.nodes, {}};
    for (std::size_t i = 0; i < part.size(); ++i) whole.offsets[part[i]] = answer.offsets[i];
  }
  return whole;
}

}  // namespace exact
