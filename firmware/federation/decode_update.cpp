#include "federation/bits.hpp"
#include "federation/update.hpp"
#include "federation/update_format.hpp"

namespace federation {

namespace {

void read_all(BitReader& stream, uint32_t n, int32_t more, uint32_t width, int32_t* z) {
  for (uint32_t i = 0; i < n; ++i) z[i] = static_cast<int32_t>(stream.take(width)) + more;
}

void read_bitmap(BitReader& stream, uint32_t n, uint32_t bits, int32_t* z) {
  for (uint32_t i = 0; i < n; ++i) z[i] = static_cast<int32_t>(stream.take(1));
  for (uint32_t i = 0; i < n; ++i) {
    if (z[i] != 0) z[i] += static_cast<int32_t>(stream.take(nonzero_width(bits)));
  }
}

void read_rice(BitReader& stream, uint32_t n, uint32_t most, uint32_t k, int32_t* numbers) {
  for (uint32_t i = 0; i < n; ++i) numbers[i] = static_cast<int32_t>(stream.take_unary(most >> k) << k);
  for (uint32_t i = 0; i < n; ++i) numbers[i] += static_cast<int32_t>(stream.take(k));
}

void read_runs(BitReader& stream, uint32_t n, uint32_t bits, uint32_t k, int32_t* z) {
  int32_t runs[kBlock];
  const uint32_t count = stream.take(kCountBits) + 1;
  read_rice(stream, count, kBlock - 1, k, runs);
  for (uint32_t i = 0; i < n; ++i) z[i] = 0;
  uint32_t at = 0;
  for (uint32_t i = 0; i < count; ++i, ++at) {
    at += static_cast<uint32_t>(runs[i]);
    if (at >= n) return stream.fail();
    z[at] = static_cast<int32_t>(stream.take(nonzero_width(bits))) + 1;
  }
}

void read_levels(BitReader& stream, uint32_t n, uint32_t bits, uint32_t mode, int32_t* z) {
  if (mode == kPlain) {
    if (bits == 1 && stream.take(1) != 0) return read_bitmap(stream, n, bits, z);
    return read_all(stream, n, bits == 1 ? 1 : 0, bits, z);
  }
  if (mode == kBitmap) return read_bitmap(stream, n, bits, z);
  if (mode < kBitmap) return read_rice(stream, n, (1U << bits) - 2, mode - kRice, z);
  read_runs(stream, n, bits, mode - kRuns, z);
}

// Turns zigzag codes into multiples of the scale; false if no encoder would write them.
bool scale_levels(int32_t* values, uint32_t n, uint32_t bits, uint32_t scale) {
  const uint32_t most = bits == 1 ? 2 : (1U << bits) - 2;
  const uint32_t most_scaled = INT32_MAX / scale;  // a level times a scale fits
  for (uint32_t i = 0; i < n; ++i) {
    const auto z = static_cast<uint32_t>(values[i]);
    if (z > most || (z + 1) / 2 > most_scaled) return false;
    values[i] = from_zigzag(z) * static_cast<int32_t>(scale);
  }
  return true;
}

bool read_block(BitReader& stream, uint32_t n, const UpdateSettings& settings, uint32_t& mode, int32_t* values) {
  uint32_t code = stream.take(8);
  if (code >= kSwitch) {
    mode = code - kSwitch;
    code = stream.take(8);
    if (!allowed(mode, settings) || code == kZeros || code >= kSwitch) return false;
  }
  if (code == kZeros) {
    for (uint32_t i = 0; i < n; ++i) values[i] = 0;
    return !stream.failed();
  }
  read_levels(stream, n, settings.bits, mode, values);
  return !stream.failed() && scale_levels(values, n, settings.bits, scale_of(code));
}

bool read_header(BitReader& stream, const UpdateSettings& settings, uint32_t values) {
  if (stream.take(8) != (kFormatVersion << 4 | kUpdateMessage)) return false;
  if (stream.take(8) != update_flags(settings)) return false;
  if (stream.take(8) != settings.keep - 1U) return false;
  return stream.take_wide(32) == values && !stream.failed();
}

}  // namespace

Error decode_update(const UpdateSettings& settings, const Spans& spans, const uint8_t* message, uint32_t size,
                    int32_t* deltas) {
  if (!valid(settings)) return Error::kSettings;
  BitReader stream(message, size);
  if (!read_header(stream, settings, totals(spans).values)) return Error::kHeader;
  uint32_t mode = kPlain;
  for (uint32_t i = 0; i < spans.count; ++i) {
    const uint32_t count = spans.first[i].count;
    for (uint32_t first = 0; first < count; first += kBlock) {
      const uint32_t n = count - first < kBlock ? count - first : kBlock;
      if (!read_block(stream, n, settings, mode, deltas)) return Error::kMalformed;
      deltas += n;
    }
  }
  return stream.finished() ? Error::kNone : Error::kMalformed;
}

}  // namespace federation
