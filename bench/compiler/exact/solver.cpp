#include "solver.hpp"

#include <algorithm>
#include <cstddef>
#include <numeric>

#include "instance.hpp"
#include "search.hpp"

namespace exact {
namespace {

constexpr std::int64_t kFirstTurn = 4;  // nodes for each block

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

// The searches of the portfolio in turn, until one of them ends or the nodes are used up.
Answer solve_part(const std::vector<Block>& blocks, std::int64_t capacity, std::uint32_t switches,
                  std::int64_t node_limit, const std::atomic<std::int32_t>& stop) {
  const Instance instance(blocks, (switches & kUsefulSections) != 0);
  const bool portfolio = (switches & kPortfolio) != 0;
  std::vector<std::vector<int>> orders;
  for (int which = 0; which < (portfolio ? kOrders : 1); ++which) orders.push_back(ranks(instance, blocks, which));
  std::int64_t nodes = 0;
  std::int64_t turn = portfolio ? kFirstTurn * static_cast<std::int64_t>(blocks.size()) : node_limit;
  while (nodes < node_limit && stop.load(std::memory_order_relaxed) == 0) {
    for (const std::vector<int>& order : orders) {
      Search search(instance, order, capacity, switches, std::min(turn, node_limit - nodes), stop);
      const Verdict verdict = search.run();
      nodes += search.nodes();
      if (verdict == Verdict::kGaveUp) continue;
      const std::vector<std::int64_t> offsets = search.offsets();
      Answer answer{verdict, nodes, std::vector<std::int64_t>(blocks.size(), 0)};
      for (std::size_t i = 0; i < blocks.size(); ++i) answer.offsets[instance.source[i]] = offsets[i];
      return answer;
    }
    turn = turn > node_limit / 2 ? node_limit : 2 * turn;
  }
  return {Verdict::kGaveUp, nodes, {}};
}

}  // namespace

Answer solve(const std::vector<Block>& blocks, std::int64_t capacity, std::uint32_t switches, std::int64_t node_limit,
             const std::atomic<std::int32_t>& stop) {
  Answer whole{Verdict::kPlaced, 0, std::vector<std::int64_t>(blocks.size(), 0)};
  for (const std::vector<std::size_t>& part : parts_of(blocks, (switches & kDecomposition) != 0)) {
    std::vector<Block> own;
    for (const std::size_t index : part) own.push_back(blocks[index]);
    const Answer answer = solve_part(own, capacity, switches, node_limit - whole.nodes, stop);
    whole.nodes += answer.nodes;
    if (answer.verdict == Verdict::kInfeasible) return {Verdict::kInfeasible, whole.nodes, {}};
    if (answer.verdict == Verdict::kGaveUp) return {Verdict::kGaveUp, whole.nodes, {}};
    for (std::size_t i = 0; i < part.size(); ++i) whole.offsets[part[i]] = answer.offsets[i];
  }
  return whole;
}

}  // namespace exact
