// The update codec under plain C names, for the tests to call. Settings come as {bits, keep, entropy, error feedback},
// spans and segments as words of their fields, results as {error, bytes, clipped}.
#include <cstdint>

#include "federation/download.hpp"
#include "federation/update.hpp"

using namespace federation;

namespace {

constexpr uint32_t kMostTensors = 16;

UpdateSettings settings_of(const int32_t* s) {
  return {static_cast<uint8_t>(s[0]), static_cast<uint16_t>(s[1]), s[2] != 0, s[3] != 0};
}

struct Table {
  Table(const uint32_t* fields, uint32_t wanted) : count(wanted < kMostTensors ? wanted : kMostTensors) {
    for (uint32_t i = 0; i < count; ++i, fields += 5) {
      spans[i] = {static_cast<Kind>(fields[0]), fields[1], fields[2], fields[3], fields[4]};
    }
  }
  Spans all() const { return {spans, count}; }

  Span spans[kMostTensors];
  uint32_t count;
};

}  // namespace

extern "C" {

int32_t encode(const int32_t* settings, const uint32_t* spans, uint32_t count, const uint8_t* params,
               const uint8_t* base, uint8_t* errors, uint8_t* out, uint32_t capacity, uint32_t* result) {
  const Table table(spans, count);
  const Encoded done = encode_update(settings_of(settings), table.all(), params, base, errors, out, capacity);
  result[0] = static_cast<uint32_t>(done.error);
  result[1] = done.bytes;
  result[2] = done.clipped;
  return 0;
}

int32_t decode(const int32_t* settings, const uint32_t* spans, uint32_t count, const uint8_t* message, uint32_t size,
               int32_t* deltas) {
  const Table table(spans, count);
  return static_cast<int32_t>(decode_update(settings_of(settings), table.all(), message, size, deltas));
}

int32_t apply(const uint32_t* segments, uint32_t count, const uint8_t* message, uint32_t size, uint8_t* bytes) {
  Segment table[kMostTensors];
  for (uint32_t i = 0; i < count; ++i) table[i] = {segments[2 * i] != 0, segments[2 * i + 1]};
  return static_cast<int32_t>(apply_download(table, count, message, size, bytes));
}

// {values, blocks, bytes of error feedback, most bytes of an update}
int32_t sizes(const int32_t* settings, const uint32_t* spans, uint32_t count, uint32_t* result) {
  const Table table(spans, count);
  const SpanTotals total = totals(table.all());
  result[0] = total.values;
  result[1] = total.blocks;
  result[2] = total.error_bytes;
  result[3] = max_update_bytes(total.values, total.blocks, settings_of(settings).bits);
  return 0;
}

}  // extern "C"
