// Exact placement of blocks whose lifetimes are known: branch and bound.
//
// Blocks are rectangles: their interval of time is given, their offset is looked for, and two that live at the same
// time must not share a byte. solve() finds offsets so that all ends are at or below a capacity, or proves that there
// are none. The ideas of canonical solutions, of bounds by section and of trying several orders in turn are those of
// MiniMalloc (Moffitt, ASPLOS 2023); support, stack order and the bound by height are our own additions.
//
// THE TREE. A node is a set of placed blocks. Each open block has a lowest offset upon the placed ones that it lives
// with, `low`; a child puts one open block to its low. Every solution that is *bottom-justified* (no block can go
// lower while the others stay) is reached by placing its blocks from the lowest to the highest.
//
// WHAT MUST BE KEPT. Call the weight of a solution the sum over its blocks of sections lived in x size x offset.
// Among the solutions of least weight, the canonical one is that with the greatest sum of rank x size x offset (`rank`
// is the order of preference). If there is any solution there is a canonical one, and each rule below cuts only nodes
// which the canonical one, its blocks placed by offset and then by rank, does not pass through. So any subset of the
// rules leaves the answer as it is; each is a switch, and tests go through all combinations.
//
//   useful sections   Time is cut into sections where blocks begin or end. Where the blocks of one section all live in
//                     its neighbour too, it says nothing that the neighbour does not: two blocks live at the same
//                     time exactly if they share a section that is left.
//   decomposition     Where none of the open blocks lives, time falls into parts that cannot touch: each is solved by
//                     itself, and one without a solution is enough to turn back. Without this a search would try all
//                     solutions of one part against each of another. Parts that are there from the start have
//                     searches of their own.
//   canonical order   Offsets never fall along the search, and where they are equal ranks rise. It is the order in
//                     which the canonical solution is laid; other orders lead to the same placements again. An open
//                     block that could have come earlier is *skipped*: it will not lie at its low.
//   section bound     In each section and from each height t, the blocks that can only lie at t or above must fit
//                     between t and the capacity. How low a block can be: its low; the last offset, as offsets never
//                     fall; or what support says. From t = the lowest of these it is the classical floor plus what is
//                     unplaced; greater t see what is pushed up by neighbours elsewhere in time.
//   dominance         If an open block fits wholly beneath the offset at which another is to come next, then it can
//                     move there in every solution below that child, as all that follows lies higher: those solutions
//                     are not bottom-justified.
//   support           A skipped block lies higher than its low, and being bottom-justified it lies upon something:
//                     upon an open block that it lives with. So it lies at least at the lowest end among those, and
//                     if it lives with none, or this leaves no room, the node is dead.
//   stack order       Directly upon a block A comes B, which lives whenever A does. If B lives longer, and but for A
//                     could lie at A's offset, swapping them changes nothing for the rest and lowers the weight: the
//                     longer one weighs more. If both live in the same sections, swapping leaves the weight, and the
//                     one of the lower rank comes first.
//   portfolio         Searches in several orders of preference take turns, each with twice the nodes of the turn
//                     before. An order that suits the instance is done in thousands of nodes where another would need
//                     billions, and none can be told beforehand. The first that ends, with a solution or without,
//                     answers. Repeating costs at most as much again as the last turn.
//
// ALIGNMENT is exact: `low` and supports are rounded up to the block's own alignment. All offsets are multiples of the
// gcd g of the alignments, so in a section each block takes its size rounded up to g, but for the highest one; the
// bound lets that be the one which saves most. The stack order's swap is only made where both blocks stay aligned.
//
// EFFORT is counted in nodes, never in seconds, so that the same blocks, capacity and limit give the same answer
// everywhere. Nodes cost O(open blocks x log + sections that they live in).

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
