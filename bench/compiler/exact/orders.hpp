// Orders of preference: in which order a search tries what it may try, and hence only how soon it ends.
//
// The fixed orders compare one trait of the blocks after another. A mixture adds up the positions that a block has by
// each trait, with weights that are drawn: the fullest moment of its life and its size, about one to three, are what
// the hardest feasible instances turned out to want, others want something else, and two mixtures that hardly differ
// may need a thousand nodes and a million. One more trait is learnt: how often a block was among those for which there
// was no room in the searches before (as the weights of dom/wdeg by Boussemart et al., 2004, but from one search to the
// next), so that what is fought about comes first.
//
// A search places the lowest block, or any that begins below all ends that open blocks can have (so that nothing would
// fit whole beneath it): the latter leaves the preference more to say.
//
// Drawn from a generator of our own, in integers: the same blocks give the same orders everywhere.

#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "instance.hpp"

namespace exact {

enum class Reach { kLowest, kBelowEnds };

// `rank`: position of each item in the preference, 0 being the most preferred.
struct Order {
  std::vector<int> rank;
  Reach reach;
};

class Orders {
 public:
  static constexpr int kFixed = 5;

  Orders(const Instance& instance, const std::vector<Block>& blocks);

  // `which` < kFixed.
  Order fixed(int which) const;

  // The mixture number `which`.
  Order mixture(std::uint64_t which) const;

  // What a search has learnt: Search::failures().
  void learn(const std::vector<std::int64_t>& failures);

 private:
  using Positions = std::vector<std::int64_t>;

  std::size_t count_;
  // By fullest moment, width and area; by width, area and fullest moment; by area, fullest moment and width; by fullest
  // moment, area and width; by size.
  Positions total_;
  Positions width_;
  Positions area_;
  Positions large_total_;
  Positions size_;
  std::vector<std::int64_t> failures_;  // the older a failure, the less it weighs
};

}  // namespace exact
