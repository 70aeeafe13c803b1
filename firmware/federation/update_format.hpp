// What encoder and decoder of updates share (update.hpp has the format in words).
#pragma once

#include <cstdint>

#include "federation/update.hpp"

namespace federation {

inline constexpr uint8_t kUpdateMessage = 1;
inline constexpr uint32_t kZeros = 0;           // a scale's code
inline constexpr uint32_t kLargestScale = 240;  // the code of kLargest, which no |p| exceeds
inline constexpr uint32_t kSwitch = kLargestScale + 1;

inline constexpr uint32_t kPlain = 0;
inline constexpr uint32_t kRice = 1;
inline constexpr uint32_t kBitmap = 8;
inline constexpr uint32_t kRuns = 9;
inline constexpr uint32_t kModes = 15;
inline constexpr uint32_t kCountBits = 6;

constexpr uint32_t scale_of(uint32_t code) {
  const uint32_t mantissa = 8 + (code & 7);
  const uint32_t exponent = code >> 3;
  return exponent >= 3 ? mantissa << (exponent - 3) : mantissa >> (3 - exponent);
}

// Modes that a message may use.
constexpr bool allowed(uint32_t mode, const UpdateSettings& settings) {
  if (mode == kPlain || !settings.entropy) return mode == kPlain;
  if (mode < kBitmap) return mode < kRice + settings.bits - 1U;
  return mode == kBitmap ? settings.bits > 1 : mode < kModes;
}

// Bits of a level that is known not to be 0.
constexpr uint32_t nonzero_width(uint32_t bits) { return bits == 2 ? 1 : bits; }

constexpr uint8_t update_flags(const UpdateSettings& settings) {
  const uint32_t log2_bits = settings.bits == 8 ? 3 : settings.bits >> 1;
  return static_cast<uint8_t>(log2_bits | (settings.entropy ? 4U : 0U) | (settings.error_feedback ? 8U : 0U));
}

}  // namespace federation
