#include "instance.hpp"

#include <algorithm>
#include <numeric>

namespace exact {
namespace {

// Where sections begin, in order. A section is useful if it begins where a block begins and the next event is an end:
// its neighbour before has a block less, its neighbour after too.
std::vector<std::int64_t> section_starts(const std::vector<Block>& blocks, bool useful_only) {
  std::vector<std::int64_t> begins;
  std::vector<std::int64_t> ends;
  for (const Block& block : blocks) {
    begins.push_back(block.lower);
    ends.push_back(block.upper);
  }
  std::sort(begins.begin(), begins.end());
  std::sort(ends.begin(), ends.end());
  std::vector<std::int64_t> starts;
  if (!useful_only) {
    std::merge(begins.begin(), begins.end(), ends.begin(), ends.end(), std::back_inserter(starts));
    starts.erase(std::unique(starts.begin(), starts.end()), starts.end());
    return starts;
  }
  for (std::size_t i = 0; i < begins.size(); ++i) {
    const auto next_end = std::upper_bound(ends.begin(), ends.end(), begins[i]);
    const bool last_before_an_end = i + 1 == begins.size() || begins[i + 1] >= *next_end;
    if (last_before_an_end) starts.push_back(begins[i]);
  }
  return starts;
}

}  // namespace

Instance::Instance(const std::vector<Block>& blocks, bool useful_only) : source(blocks.size()) {
  std::iota(source.begin(), source.end(), std::size_t{0});
  std::stable_sort(source.begin(), source.end(),
                   [&](std::size_t a, std::size_t b) { return blocks[a].lower < blocks[b].lower; });
  std::int64_t divisor = 0;
  for (const Block& block : blocks) divisor = std::gcd(divisor, block.align);
  const std::vector<std::int64_t> starts = section_starts(blocks, useful_only);
  const auto section = [&](std::int64_t time) {
    return static_cast<int>(std::lower_bound(starts.begin(), starts.end(), time) - starts.begin());
  };
  for (const std::size_t index : source) {
    const Block& block = blocks[index];
    items.push_back(
        {section(block.lower), section(block.upper), block.size, align_up(block.size, divisor), block.align});
  }
  sections = static_cast<int>(starts.size());
}

}  // namespace exact
