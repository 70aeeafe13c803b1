// How far the values of a block are from the base, with the error feedback (update.hpp, "Grid").
#pragma once

#include <cstdint>

#include "federation/update.hpp"

namespace federation {

// Cores without floating point train in int8 only, so there the code for float32 would be dead weight.
#if defined(__arm__) && !defined(__ARM_FP)
inline constexpr bool kHasFloat32 = false;
#else
inline constexpr bool kHasFloat32 = true;
#endif

constexpr bool is_supported(Kind kind) { return kind < Kind::kFloat32 || (kHasFloat32 && kind == Kind::kFloat32); }

struct Model {
  const uint8_t* params;
  const uint8_t* base;
  const uint8_t* errors;  // or null
};

// Writes p of the values first, first + 1 ... first + n - 1 of a tensor; n <= kBlock, `first` even. Returns how many
// were cut.
uint32_t differences(const Span& span, const Model& model, uint32_t first, uint32_t n, int32_t* p);

}  // namespace federation
