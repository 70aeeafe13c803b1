#include "src/data_partition.hpp"

#include <cstring>

#include "hal/hal.hpp"
#include "src/checksum.hpp"

namespace data {
namespace {

Header g_header;
State g_state;
bool g_checked;

// count * (1 + sample_bytes), or 0 when it cannot be right: the header may be garbage.
uint32_t records_bytes(const Header& header) {
  const uint32_t capacity = hal::data_partition_size() - kHeaderBytes;
  if (header.count == 0 || header.sample_bytes == 0 || header.sample_bytes >= capacity) return 0;
  const uint32_t record_bytes = header.sample_bytes + 1;
  return header.count <= capacity / record_bytes ? header.count * record_bytes : 0;
}

State check() {
  if (hal::data_partition_size() < kHeaderBytes) return State::kAbsent;
  std::memcpy(&g_header, hal::data_partition_base(), sizeof g_header);
  if (std::memcmp(g_header.magic, "FTTEDAT1", sizeof g_header.magic) != 0) return State::kAbsent;
  const uint32_t bytes = records_bytes(g_header);
  if (bytes == 0) return State::kCorrupt;
  link::Crc32 crc;
  flash_crc32(crc, hal::data_partition_base() + kHeaderBytes, bytes);
  return crc.value() == g_header.crc32 ? State::kReady : State::kCorrupt;
}

}  // namespace

State state() {
  if (!g_checked) {
    g_state = check();
    g_checked = true;
  }
  return g_state;
}

const Header& header() { return g_header; }

const uint8_t* record(uint32_t index) {
  return hal::data_partition_base() + kHeaderBytes + index * (g_header.sample_bytes + 1);
}

}  // namespace data
