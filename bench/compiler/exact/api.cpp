// What Python calls (library.py).

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <new>
#include <vector>

#include "solver.hpp"

static_assert(sizeof(std::atomic<std::int32_t>) == sizeof(std::int32_t), "the caller sets it as an int32");

namespace {

constexpr std::int32_t kOutOfMemory = -1;

}  // namespace

// Gives the verdict, or -1 if memory ran out. `blocks`: count x (lower, upper, size, align). `offsets`: count, written
// if all are placed. `stop`: another thread may set it to 1.
extern "C" std::int32_t exact_solve(const std::int64_t* blocks, std::size_t count, std::int64_t capacity,
                                    std::uint32_t switches, std::int64_t node_limit,
                                    const std::atomic<std::int32_t>* stop, std::int64_t* offsets, std::int64_t* nodes) {
  try {
    std::vector<exact::Block> given;
    for (std::size_t i = 0; i < count; ++i) {
      const std::int64_t* row = blocks + 4 * i;
      given.push_back({row[0], row[1], row[2], row[3]});
    }
    const exact::Answer answer = exact::solve(given, capacity, switches, node_limit, *stop);
    *nodes = answer.nodes;
    if (answer.verdict == exact::Verdict::kPlaced) std::copy(answer.offsets.begin(), answer.offsets.end(), offsets);
    return static_cast<std::int32_t>(answer.verdict);
  } catch (const std::bad_alloc&) {
    return kOutOfMemory;
  }
}
