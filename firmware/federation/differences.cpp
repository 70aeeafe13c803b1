#include "federation/differences.hpp"

#include <cstring>

namespace federation {

namespace {

template <typename T>
const T* at(const uint8_t* bytes, uint32_t offset, uint32_t index) {
  return reinterpret_cast<const T*>(bytes + offset) + index;
}

int32_t cut(int64_t wanted, uint32_t& clipped) {
  if (wanted > kLargest || wanted < -kLargest) {
    ++clipped;
    return wanted < 0 ? -kLargest : kLargest;
  }
  return static_cast<int32_t>(wanted);
}

// Of int8 weights |p| < 2^17, whatever the bytes: 255 * 256 + 2^15 of a residual + 2^15 of an error.
void weights(const Span& span, const Model& model, uint32_t first, uint32_t n, int32_t* p) {
  const auto* q = at<int8_t>(model.params, span.value, first);
  const auto* base = at<int8_t>(model.base, span.value, first);
  if (span.kind == Kind::kInt8) {
    for (uint32_t i = 0; i < n; ++i) p[i] = q[i] - base[i];
  } else if (span.kind == Kind::kInt8WithResidual8) {
    const auto* r = at<int8_t>(model.params, span.residual, first);
    for (uint32_t i = 0; i < n; ++i) p[i] = (q[i] - base[i]) * 256 + r[i];
  } else if (span.kind == Kind::kInt8WithResidual16) {
    const auto* r = at<int16_t>(model.params, span.residual, first);
    for (uint32_t i = 0; i < n; ++i) p[i] = (q[i] - base[i]) * 256 + r[i];
  } else {
    const uint8_t* r = at<uint8_t>(model.params, span.residual, first / 2);
    for (uint32_t i = 0; i < n; ++i) {
      const int32_t half = (r[i >> 1] >> (i & 1) * 4) & 15;
      p[i] = (q[i] - base[i]) * 16 + (half ^ 8) - 8;
    }
  }
  if (model.errors == nullptr) return;
  const auto* e = at<int16_t>(model.errors, span.error, first);
  for (uint32_t i = 0; i < n; ++i) p[i] += e[i];
}

uint32_t words(const Span& span, const Model& model, uint32_t first, uint32_t n, int32_t* p) {
  const auto* value = at<int32_t>(model.params, span.value, first);
  const auto* base = at<int32_t>(model.base, span.value, first);
  const bool refined = span.kind == Kind::kInt32WithResidual;
  const auto* r = refined ? at<int32_t>(model.params, span.residual, first) : nullptr;
  const auto* e = model.errors != nullptr ? at<int32_t>(model.errors, span.error, first) : nullptr;
  uint32_t clipped = 0;
  for (uint32_t i = 0; i < n; ++i) {
    int64_t wanted = static_cast<int64_t>(value[i]) - base[i];
    if (r != nullptr) wanted += r[i];
    if (e != nullptr) wanted += e[i];
    p[i] = cut(wanted, clipped);
  }
  return clipped;
}

// A float32 in units of 2^-20 by its bits: the same on every core, whatever the rounding mode or the library.
int32_t fixed(float value, uint32_t& clipped) {
  uint32_t bits = 0;
  std::memcpy(&bits, &value, sizeof(bits));
  const auto exponent = static_cast<int32_t>((bits >> 23) & 0xFF);
  const uint32_t fraction = bits & 0x7FFFFF;
  const uint32_t mantissa = fraction | (exponent == 0 ? 0U : 1U << 23);
  const int32_t left = exponent - 150 + 20;  // value = mantissa * 2^(exponent - 150)
  uint32_t magnitude = 0;
  if (exponent == 255 && fraction != 0) {
    ++clipped;
  } else if (left > 7 || (left == 7 && fraction != 0)) {
    ++clipped;
    magnitude = kLargest;
  } else if (left >= 0) {
    magnitude = mantissa << left;
  } else if (left > -26) {
    const uint32_t half = 1U << (-left - 1);
    magnitude = (mantissa + half - 1 + ((mantissa >> -left) & 1)) >> -left;
  }
  const auto result = static_cast<int32_t>(magnitude);
  return (bits >> 31) != 0 ? -result : result;
}

uint32_t floats(const Span& span, const Model& model, uint32_t first, uint32_t n, int32_t* p) {
  const auto* value = at<float>(model.params, span.value, first);
  const auto* base = at<float>(model.base, span.value, first);
  const auto* e = model.errors != nullptr ? at<int32_t>(model.errors, span.error, first) : nullptr;
  uint32_t clipped = 0;
  for (uint32_t i = 0; i < n; ++i) {
    const int32_t difference = fixed(value[i] - base[i], clipped);
    p[i] = e != nullptr ? cut(static_cast<int64_t>(difference) + e[i], clipped) : difference;
  }
  return clipped;
}

}  // namespace

uint32_t differences(const Span& span, const Model& model, uint32_t first, uint32_t n, int32_t* p) {
  if (span.kind <= Kind::kInt8WithResidual16) {
    weights(span, model, first, n, p);
    return 0;
  }
  if constexpr (kHasFloat32) {
    if (span.kind == Kind::kFloat32) return floats(span, model, first, n, p);
  }
  return words(span, model, first, n, p);
}

}  // namespace federation
