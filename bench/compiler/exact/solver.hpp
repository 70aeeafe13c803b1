// Exact placement of blocks whose lifetimes are known: branch and bound.
//
// Blocks are rectangles: their interval of time is given, their offset is looked for, and two that live at the same
// time must not share a byte. solve() finds offsets so that all ends are at or below a capacity, or proves that there
// are none. Canonical solutions, bounds by section, dynamic decomposition and trying several orders in turn are ideas
// of MiniMalloc (Moffitt, ASPLOS 2023); sleeping blocks (as in schedule generation and partial-order reduction),
// support, stack order, and backjumping over explained failures (Prosser, 1993) are what this search adds.
//
// THE TREE. A node is a set of placed blocks. Each open block has a lowest offset upon the placed ones that it lives
// with, `low`. A node takes an open block that does not sleep and decides: either it comes *next*, before all open
// blocks that it lives with, and then lies at its low; or one of these lies beneath it. The first is tried first. If it
// fails, the block is put to sleep, until a block that it lives with is placed. A node has no solution if a rule below
// says so, or if all open blocks sleep, as the lowest of them has nothing beneath it. Which block a node takes is free,
// so it is a matter of preference (orders.hpp): the two halves leave nothing out, and no rule asks where it lies.
//
// WHAT MUST BE KEPT. Call the weight of a solution the sum over its blocks of sections lived in x size x offset.
// Among the solutions of least weight, let S be that with the greatest sum of rank x size x offset (`rank` is the
// order of preference). If there is any solution there is an S. No block can go lower in it while the others stay:
// each lies at 0 or, its alignment apart, directly upon another. All that the search concludes are statements about S
// that follow from decisions about S, so they can be combined in any order, and any subset of the rules leaves the
// answer as it is. Each is a switch, and tests try all combinations of them.
//
//   useful sections   Time is cut into sections where blocks begin or end. Where the blocks of one section all live in
//                     its neighbour too, it says nothing that the neighbour does not: two blocks live at the same
//                     time exactly if they share a section that is left.
//   decomposition     Where none of the open blocks lives, time falls into parts that cannot touch: each is solved by
//                     itself, and one without a solution is enough to turn back. Without this a search would try all
//                     solutions of one part against each of another. Parts that are there from the start have
//                     searches of their own.
//   sleep             What was found out about a sleeping block holds in the whole subtree, until a block that it
//                     lives with is placed: then something does lie beneath it, and it may come next again. Without
//                     this rule all blocks wake whenever one is placed, and the same placement is reached by all
//                     orders in which its independent blocks can come.
//   support           A sleeping block lies upon an open one that it lives with. So it lies at least at the lowest end
//                     that one of those can have, and if it lives with none, the node is dead. As sleeping blocks may
//                     lie upon sleeping ones, these bounds are shortest paths that start at the blocks awake.
//   section bound     In each section and from each height t, the blocks that can only lie at t or above must fit
//                     between t and the capacity. How low a block can be is its low, or what support says. From t =
//                     the lowest of these it is the classical floor plus what is unplaced; greater t see what is
//                     pushed up by neighbours elsewhere in time.
//   dominance         A sleeping block that fits between its low and the lowest that any open block it lives with can
//                     have would sink to its low in S, with nothing beneath it: the node is dead.
//   stack order       Directly upon a block A comes B, which lives whenever A does. If B lives longer, and but for A
//                     could lie at A's offset, swapping them changes nothing for the rest and lowers the weight: the
//                     longer one weighs more. If both live in the same sections, swapping leaves the weight, and the
//                     one of the lower rank lies lower in S. So B does not come next: it is put to sleep untried.
//   backjumping       Every failure is explained by a set of decisions: those that pushed the blocks in question up as
//                     high as was needed, no higher; those for which blocks sleep; and where a rule needs to know
//                     that nothing lies somewhere, all decisions about what lies beneath. If the decision to place a
//                     block is not among the reasons for which that failed, then leaving it open fails for the same
//                     reasons, and the node is given up with them; so does its parent, if its own block is not among
//                     them. A conflict at one time thus jumps over the decisions about others. Else the rest of the
//                     reasons are kept as those for which the block sleeps.
//   portfolio         Searches in several orders of preference take turns. A few fixed orders have twice the nodes in
//                     each round than in the one before: one of them will come to an end. Twice as many go to
//                     mixed orders (orders.hpp), each tried once and not for long: an order that suits the instance is
//                     done in thousands of nodes where another would need billions, and none can be told beforehand.
//                     The first search that ends, with a solution or without, answers.
//
// ALIGNMENT is exact: `low` and supports are rounded up to the block's own alignment. All offsets are multiples of the
// gcd g of the alignments, so in a section each block takes its size rounded up to g, but for the highest one; the
// bound lets that be the one which saves most. The stack order's swap is only made where both blocks stay aligned.
//
// EFFORT is counted in nodes, never in seconds, so that the same blocks, capacity and limit give the same answer
// everywhere. A node costs O(open blocks x sleeping ones + sections that they live in).

#pragma once

#include <atomic>
#include <cstdint>
#include <vector>

#include "problem.hpp"

namespace exact {

// Sums of sizes and alignments must stay below 2^62. `stop` ends the search soon after it is set to another value
// than 0.
Answer solve(const std::vector<Block>& blocks, std::int64_t capacity, std::uint32_t switches, std::int64_t node_limit,
             const std::atomic<std::int32_t>& stop);

}  // namespace exact
