// Sizes of the program demo_float32; plan.json describes it to the host.
#pragma once

#include <cstdint>

namespace ftte::program {

inline constexpr uint32_t kParamsBytes = 17800;
inline constexpr uint32_t kArenaBytes = 7804;
inline constexpr uint32_t kSampleBytes = 14 * 14;

}  // namespace ftte::program
