// Types and payloads of the link, as docs/architecture.md lists them. Little-endian without padding, so that on the
// little-endian targets a struct is its own encoding. Move them with load() and store(): payloads have no alignment
// that may be relied on, and a Cortex-M0 faults on an unaligned access.
#pragma once

#include <cstdint>
#include <cstring>
#include <type_traits>

namespace link {

static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "payload structs are used as they lie in memory");

inline constexpr uint8_t kProtocol = 1;

enum class Type : uint8_t {
  kHello = 1,
  kStats = 2,
  kWrite = 3,
  kRead = 4,
  kBegin = 5,
  kTrain = 6,
  kEvaluate = 7,
  kStream = 8,
  kData = 9,
  kReset = 10,
  kEncode = 11,
  kFetch = 12,
  kLoad = 13,
  kApply = 14,
};

enum class ErrorCode : uint8_t {
  kNoSession = 1,
  kBadLength = 2,
  kUnknownType = 3,
  kOutOfRange = 4,
  kDataAbsent = 5,
  kDataCorrupt = 6,
  kParamsCorrupt = 7,
  kDataMismatch = 8,  // the partition's sample size or classes are not the program's
  kNotBegun = 9,
  kNotFederated = 10,     // the program has no client's state: updates do not travel coded
  kUpdateMalformed = 11,  // settings or a difference that cannot be
};

// HelloReply::capabilities
inline constexpr uint16_t kCapabilityData = 1;    // trains on a flashed data partition: TRAIN, EVALUATE, DATA
inline constexpr uint16_t kCapabilityStream = 2;  // trains on samples sent: STREAM
inline constexpr uint16_t kCapabilityFpu = 4;
inline constexpr uint16_t kCapabilityFederation = 8;  // codes updates: ENCODE, FETCH, LOAD, APPLY

struct HelloRequest {
  uint8_t protocol;
  uint8_t tag;  // of the session to open, 1 to 15
  uint16_t reserved;
  uint32_t nonce;
};
static_assert(sizeof(HelloRequest) == 8);

struct HelloReply {
  uint8_t protocol;  // set by the session
  uint8_t dtype;     // ftte::Dtype
  uint16_t capabilities;
  uint32_t nonce;  // set by the session
  uint8_t build_id[16];
  uint32_t image_crc32;  // computed now, over flash
  uint32_t image_crc32_expected;
  uint8_t plan_id[8];
  char env[24];          // zero-padded
  uint16_t chunk_bytes;  // set by the session
  uint8_t reset_cause;   // hal::ResetCause
  uint8_t clock_source;  // hal::ClockSource
  uint32_t core_hz;
  uint32_t params_bytes;
  uint32_t down_bytes;
  uint32_t sample_bytes;
  uint8_t device_uid[12];
  uint32_t fault_pc;
  uint32_t fault_lr;
  uint32_t fault_cfsr;
  uint32_t fault_valid;  // 1 when the last reset was a fault's
};
static_assert(sizeof(HelloReply) == 112);

struct StatsRequest {
  uint8_t repaint;  // 1: paint the free stack again, so that the next high-water mark is of what follows
};
static_assert(sizeof(StatsRequest) == 1);

struct StatsReply {
  uint32_t wire_rx, wire_tx;          // bytes since HELLO, log text apart
  uint32_t frames_rx, frames_tx;      // whole frames
  uint32_t rx_repeated, tx_repeated;  // bytes of requests answered from the cache, and of those replies
  uint32_t rx_corrupt;                // corrupt frames
  uint32_t overruns;                  // bytes lost by the UART
  uint32_t log_tx;                    // bytes of log text
  uint32_t sram_static, sram_arena, sram_federation;
  uint32_t stack_reserved, stack_high_water;
  uint64_t uptime_cycles;
};
static_assert(sizeof(StatsReply) == 64);

struct WriteRequest {  // then the bytes
  uint32_t offset;
};
static_assert(sizeof(WriteRequest) == 4);

struct __attribute__((packed)) ReadRequest {
  uint32_t offset;
  uint16_t length;
};
static_assert(sizeof(ReadRequest) == 6);

struct BeginRequest {
  uint32_t round;
  uint32_t crc32;  // of params[0, down_bytes)
};
static_assert(sizeof(BeginRequest) == 8);

struct TrainRequest {
  uint32_t first, count;
  uint32_t learning_rate_q16;
  uint32_t seed;
};
static_assert(sizeof(TrainRequest) == 16);

struct EvaluateRequest {
  uint32_t first, count;
};
static_assert(sizeof(EvaluateRequest) == 8);

struct StreamRequest {  // then `count` records of a label u8 and the features
  uint32_t learning_rate_q16;
  uint32_t seed;
  uint16_t count;
  uint16_t reserved;
};
static_assert(sizeof(StreamRequest) == 12);

struct ResultReply {  // of TRAIN, EVALUATE and STREAM
  uint32_t samples, correct;
  uint64_t loss_q16;  // summed over the samples
  uint32_t saturated;
  uint32_t reserved;
  uint64_t cycles;
};
static_assert(sizeof(ResultReply) == 32);

struct DataReply {
  uint8_t present, crc_ok;
  uint16_t reserved;
  uint32_t count, sample_bytes, classes, crc32, capacity;
  uint8_t shard_id[16];
};
static_assert(sizeof(DataReply) == 40);

// Codes the update since BEGIN or APPLY into the exchange buffer, which training overwrites.
struct EncodeRequest {
  uint8_t bits;
  uint8_t flags;  // 1 entropy coding, 2 error feedback, 4 forget the error feedback first
  uint16_t keep;  // of 256
};
static_assert(sizeof(EncodeRequest) == 4);

struct EncodeReply {
  uint32_t bytes, crc32;  // of the update
  uint32_t clipped;
};
static_assert(sizeof(EncodeReply) == 12);

struct LoadRequest {  // then the bytes, for the exchange buffer
  uint32_t offset;
};
static_assert(sizeof(LoadRequest) == 4);

// Applies the difference in the exchange buffer to the base, and begins a round with that.
struct ApplyRequest {
  uint32_t round;
  uint32_t bytes;  // of the difference
  uint32_t crc32;  // of what the parameters then are: params[0, down_bytes)
};
static_assert(sizeof(ApplyRequest) == 12);

struct ErrorReply {
  uint8_t code;  // ErrorCode
  uint8_t reserved[3];
  uint32_t detail;
};
static_assert(sizeof(ErrorReply) == 8);

// What the payload of a request must be, checked by the session before the handler sees it. `open` ones carry bytes
// behind their fields.
struct RequestShape {
  uint16_t fields;  // bytes
  bool open;
};
inline constexpr RequestShape kRequestShapes[] = {
    {0, false},
    {sizeof(HelloRequest), false},
    {sizeof(StatsRequest), false},
    {sizeof(WriteRequest), true},
    {sizeof(ReadRequest), false},
    {sizeof(BeginRequest), false},
    {sizeof(TrainRequest), false},
    {sizeof(EvaluateRequest), false},
    {sizeof(StreamRequest), true},
    {0, false},
    {0, false},
    {sizeof(EncodeRequest), false},
    {sizeof(ReadRequest), false},
    {sizeof(LoadRequest), true},
    {sizeof(ApplyRequest), false},
};
inline constexpr uint8_t kLastType = static_cast<uint8_t>(Type::kApply);
static_assert(sizeof(kRequestShapes) / sizeof(kRequestShapes[0]) == kLastType + 1U);

template <typename T>
T load(const uint8_t* bytes) {
  static_assert(std::is_trivially_copyable<T>::value, "a payload struct");
  T value;
  std::memcpy(&value, bytes, sizeof value);
  return value;
}

template <typename T>
void store(uint8_t* bytes, const T& value) {
  static_assert(std::is_trivially_copyable<T>::value, "a payload struct");
  std::memcpy(bytes, &value, sizeof value);
}

}  // namespace link
