// A client's shard of the data, in flash: a 64-byte header and `count` records of one label and sample_bytes features.
#pragma once

#include <cstdint>

namespace data {

inline constexpr uint32_t kHeaderBytes = 64;

struct Header {
  char magic[8];  // "FTTEDAT1"
  uint32_t count;
  uint32_t sample_bytes;
  uint32_t classes;
  uint32_t crc32;  // of the records
  uint8_t shard_id[16];
};
static_assert(sizeof(Header) == 40, "no padding");

enum class State : uint8_t { kAbsent, kCorrupt, kReady };

// The header's fields are meaningful unless the state is kAbsent. The CRC is computed on the first call and remembered:
// flash does not change under a running image.
State state();
const Header& header();

// Record i < header().count: record[0] is the label, the features follow.
const uint8_t* record(uint32_t index);

}  // namespace data
