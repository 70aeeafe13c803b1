// The link's C++ side as a shared library for ctypes: the parts by themselves, and a board whose session is the real
// one and whose requests only keep account of what was executed.
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <new>
#include <string>
#include <vector>

#include "link/crc32.hpp"
#include "link/session.hpp"

namespace {

using Bytes = std::vector<uint8_t>;

void append(void* context, const uint8_t* data, size_t size) {
  auto& bytes = *static_cast<Bytes*>(context);
  bytes.insert(bytes.end(), data, data + size);
}

size_t give(const Bytes& bytes, uint8_t* out, size_t capacity) {
  if (bytes.size() > capacity) return SIZE_MAX;
  if (!bytes.empty()) std::memcpy(out, bytes.data(), bytes.size());
  return bytes.size();
}

template <typename T>
void put(Bytes& bytes, const T& value) {
  append(&bytes, reinterpret_cast<const uint8_t*>(&value), sizeof value);
}

constexpr uint32_t kParamsBytes = 8192;

struct Board {
  Bytes sent;
  std::vector<uint32_t> trained;  // the seed of each TRAIN and STREAM that was executed, in order
  uint32_t executed = 0;          // requests but HELLO
  uint32_t hellos = 0;
  uint8_t params[kParamsBytes] = {};
  bool chatty = false;  // logs a line in the middle of each TRAIN
  alignas(link::Session) uint8_t memory[sizeof(link::Session)];
  link::Session* session = nullptr;

  void boot(bool announce);
};

void stats(const Board& board, link::Reply& reply) {
  const link::Counters& counted = board.session->counters();
  link::StatsReply stats{};
  stats.wire_rx = counted.wire_rx;
  stats.wire_tx = counted.wire_tx;
  stats.frames_rx = counted.frames_rx;
  stats.frames_tx = counted.frames_tx;
  stats.rx_repeated = counted.rx_repeated;
  stats.tx_repeated = counted.tx_repeated;
  stats.rx_corrupt = counted.rx_corrupt;
  stats.log_tx = counted.log_tx;
  reply.set(stats);
}

void train(Board& board, uint32_t seed, uint32_t samples, link::Reply& reply) {
  board.trained.push_back(seed);
  if (board.chatty) board.session->log("half way\n");
  reply.set(link::ResultReply{samples, seed, 65536, 0, 0, board.trained.size()});
}

void execute(void* context, const link::Request& request, link::Reply& reply) {
  Board& board = *static_cast<Board*>(context);
  if (request.type == link::Type::kHello) {
    ++board.hellos;
    link::HelloReply hello{};
    std::memcpy(hello.env, "host", 4);
    hello.params_bytes = kParamsBytes;
    hello.down_bytes = 4096;
    hello.sample_bytes = 20;
    return reply.set(hello);
  }
  ++board.executed;
  switch (request.type) {
    case link::Type::kStats:
      return stats(board, reply);
    case link::Type::kWrite: {
      const uint32_t offset = request.fields<link::WriteRequest>().offset;
      const uint16_t size = request.rest_length<link::WriteRequest>();
      if (offset > kParamsBytes || size > kParamsBytes - offset)
        return reply.fail(link::ErrorCode::kOutOfRange, offset);
      if (size != 0) std::memcpy(board.params + offset, request.rest<link::WriteRequest>(), size);
      return;
    }
    case link::Type::kRead: {
      const auto read = request.fields<link::ReadRequest>();
      if (read.offset > kParamsBytes || read.length > kParamsBytes - read.offset)
        return reply.fail(link::ErrorCode::kOutOfRange, read.offset);
      return reply.set_body(board.params + read.offset, read.length);
    }
    case link::Type::kBegin:
      if (request.fields<link::BeginRequest>().crc32 != link::crc32(board.params, 4096))
        reply.fail(link::ErrorCode::kParamsCorrupt);
      return;
    case link::Type::kTrain: {
      const auto fields = request.fields<link::TrainRequest>();
      return train(board, fields.seed, fields.count, reply);
    }
    case link::Type::kStream: {
      const auto fields = request.fields<link::StreamRequest>();
      if (request.rest_length<link::StreamRequest>() != fields.count * 21U)
        return reply.fail(link::ErrorCode::kBadLength, fields.count * 21U);
      return train(board, fields.seed, fields.count, reply);
    }
    case link::Type::kEvaluate:
      return reply.fail(link::ErrorCode::kDataAbsent);
    case link::Type::kData:
      return reply.set(link::DataReply{});
    default:
      return;
  }
}

void Board::boot(bool announce) {
  std::memset(memory, 0xA5, sizeof memory);  // what the session does not set is not zero on a board either
  session = new (memory) link::Session({append, &sent}, {execute, this});
  if (!announce) return;
  session->log("boot\n");
  session->announce();
}

std::string g_layouts;

void layout(const char* name, const char* field, size_t offset, size_t size) {
  char line[96];
  std::snprintf(line, sizeof line, "%s %s %zu %zu\n", name, field, offset, size);
  g_layouts += line;
}

}  // namespace

#define FIELD(type, field) layout(#type, #field, offsetof(link::type, field), sizeof(link::type::field))

extern "C" {

uint32_t link_crc32(const uint8_t* data, size_t size, size_t split) {
  link::Crc32 crc;
  crc.update(data, split);
  crc.update(data + split, size - split);
  return crc.value();
}

// Encodes data cut into pieces at `first` and `second`.
size_t link_cobs_encode(const uint8_t* data, size_t size, size_t first, size_t second, uint8_t* out, size_t capacity) {
  Bytes bytes;
  const link::Piece pieces[] = {
      {data, first}, {nullptr, 0}, {data + first, second - first}, {data + second, size - second}};
  const size_t written = link::cobs_encode({append, &bytes}, pieces, 4);
  return written == bytes.size() ? give(bytes, out, capacity) : SIZE_MAX;
}

// SIZE_MAX for what is no COBS or longer than `capacity`; one byte behind it is watched.
size_t link_cobs_decode(const uint8_t* data, size_t size, uint8_t* out, size_t capacity) {
  Bytes buffer(capacity + 1, 0x5A);
  link::CobsDecoder decoder(buffer.data(), capacity);
  decoder.reset();
  for (size_t i = 0; i < size; ++i) decoder.put(data[i]);
  if (buffer[capacity] != 0x5A || !decoder.complete()) return SIZE_MAX;
  buffer.resize(decoder.size());
  return give(buffer, out, capacity);
}

size_t link_encode(const link::Header* header, const uint8_t* payload, size_t size, size_t head, uint8_t* out,
                   size_t capacity) {
  Bytes bytes;
  const uint32_t written = link::write_frame({append, &bytes}, *header, {payload, head}, {payload + head, size - head});
  return written == bytes.size() ? give(bytes, out, capacity) : SIZE_MAX;
}

// Records of: event u8, version u8, type u8, flags u8, sequence u16, length u16, segment_bytes u32, payload.
size_t link_parse(const uint8_t* data, size_t size, uint8_t* out, size_t capacity) {
  link::Parser parser;
  Bytes bytes;
  for (size_t i = 0; i < size; ++i) {
    const link::Event event = parser.feed(data[i]);
    if (event == link::Event::kNone) continue;
    const link::Header header = event == link::Event::kFrame ? parser.header() : link::Header{};
    put(bytes, event);
    put(bytes, header.version);
    put(bytes, header.type);
    put(bytes, header.flags);
    put(bytes, header.sequence);
    put(bytes, header.length);
    put(bytes, parser.segment_bytes());
    append(&bytes, parser.payload(), header.length);
  }
  return give(bytes, out, capacity);
}

const char* link_layouts() {
  g_layouts.clear();
  FIELD(HelloRequest, protocol), FIELD(HelloRequest, tag), FIELD(HelloRequest, reserved), FIELD(HelloRequest, nonce);
  FIELD(HelloReply, protocol), FIELD(HelloReply, dtype), FIELD(HelloReply, capabilities), FIELD(HelloReply, nonce);
  FIELD(HelloReply, build_id), FIELD(HelloReply, image_crc32), FIELD(HelloReply, image_crc32_expected);
  FIELD(HelloReply, plan_id), FIELD(HelloReply, env), FIELD(HelloReply, chunk_bytes), FIELD(HelloReply, reset_cause);
  FIELD(HelloReply, clock_source), FIELD(HelloReply, core_hz), FIELD(HelloReply, params_bytes);
  FIELD(HelloReply, down_bytes), FIELD(HelloReply, sample_bytes), FIELD(HelloReply, device_uid);
  FIELD(HelloReply, fault_pc), FIELD(HelloReply, fault_lr), FIELD(HelloReply, fault_cfsr);
  FIELD(HelloReply, fault_valid), FIELD(StatsRequest, repaint);
  FIELD(StatsReply, wire_rx), FIELD(StatsReply, wire_tx), FIELD(StatsReply, frames_rx), FIELD(StatsReply, frames_tx);
  FIELD(StatsReply, rx_repeated), FIELD(StatsReply, tx_repeated), FIELD(StatsReply, rx_corrupt);
  FIELD(StatsReply, overruns), FIELD(StatsReply, log_tx), FIELD(StatsReply, sram_static);
  FIELD(StatsReply, sram_arena), FIELD(StatsReply, sram_federation), FIELD(StatsReply, stack_reserved);
  FIELD(StatsReply, stack_high_water), FIELD(StatsReply, uptime_cycles), FIELD(WriteRequest, offset);
  FIELD(ReadRequest, offset), FIELD(ReadRequest, length), FIELD(BeginRequest, round), FIELD(BeginRequest, crc32);
  FIELD(TrainRequest, first), FIELD(TrainRequest, count), FIELD(TrainRequest, learning_rate_q16);
  FIELD(TrainRequest, seed), FIELD(EvaluateRequest, first), FIELD(EvaluateRequest, count);
  FIELD(StreamRequest, learning_rate_q16), FIELD(StreamRequest, seed), FIELD(StreamRequest, count);
  FIELD(StreamRequest, reserved), FIELD(ResultReply, samples), FIELD(ResultReply, correct);
  FIELD(ResultReply, loss_q16), FIELD(ResultReply, saturated), FIELD(ResultReply, reserved);
  FIELD(ResultReply, cycles), FIELD(DataReply, present), FIELD(DataReply, crc_ok), FIELD(DataReply, reserved);
  FIELD(DataReply, count), FIELD(DataReply, sample_bytes), FIELD(DataReply, classes), FIELD(DataReply, crc32);
  FIELD(DataReply, capacity), FIELD(DataReply, shard_id), FIELD(ErrorReply, code), FIELD(ErrorReply, reserved);
  FIELD(ErrorReply, detail);
  return g_layouts.c_str();
}

uint32_t link_session_bytes() { return sizeof(link::Session); }
uint32_t link_chunk_bytes() { return link::kChunkBytes; }

void* board_new() {
  auto* board = new Board;
  board->boot(false);
  return board;
}

void board_delete(void* board) { delete static_cast<Board*>(board); }
void board_reboot(void* board, int announce) { static_cast<Board*>(board)->boot(announce != 0); }
void board_set_chatty(void* board, int chatty) { static_cast<Board*>(board)->chatty = chatty != 0; }
void board_log(void* board, const char* text) { static_cast<Board*>(board)->session->log(text); }

void board_feed(void* context, const uint8_t* data, size_t size) {
  Board& board = *static_cast<Board*>(context);
  for (size_t i = 0; i < size; ++i) {
    board.session->feed(data[i]);
    if (board.session->reset_requested()) board.boot(true);
  }
}

size_t board_take(void* context, uint8_t* out, size_t capacity) {
  Board& board = *static_cast<Board*>(context);
  const size_t size = give(board.sent, out, capacity);
  board.sent.clear();
  return size;
}

uint32_t board_executed(void* board) { return static_cast<Board*>(board)->executed; }
uint32_t board_hellos(void* board) { return static_cast<Board*>(board)->hellos; }
const uint8_t* board_params(void* board) { return static_cast<Board*>(board)->params; }

size_t board_trained(void* context, uint32_t* out, size_t capacity) {
  const Board& board = *static_cast<Board*>(context);
  if (board.trained.size() > capacity) return SIZE_MAX;
  if (!board.trained.empty()) std::memcpy(out, board.trained.data(), board.trained.size() * sizeof(uint32_t));
  return board.trained.size();
}

void board_counters(void* board, uint32_t out[8]) {
  const link::Counters& counters = static_cast<Board*>(board)->session->counters();
  static_assert(sizeof counters == 8 * sizeof(uint32_t));
  std::memcpy(out, &counters, sizeof counters);
}

}  // extern "C"
