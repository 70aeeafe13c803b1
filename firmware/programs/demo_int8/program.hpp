// Sizes of the program demo_int8; plan.json describes it to the host.
#pragma once

#include <cstdint>

namespace ftte::program {

inline constexpr uint32_t kParamsBytes = 8944;
inline constexpr uint32_t kArenaBytes = 1836;
inline constexpr uint32_t kSampleBytes = 14 * 14;

}  // namespace ftte::program
