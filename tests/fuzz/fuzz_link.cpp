// Fuzz target of the link: parser and board session. The tests run it for ten seconds; longer, by hand:
//
//   clang++ -std=c++17 -O1 -g -DFTTE_CHUNK_BYTES=128 -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=all
//     -Ifirmware tests/fuzz/fuzz_link.cpp firmware/link/*.cpp -o /tmp/fuzz_link
//   mkdir -p /tmp/corpus && /tmp/fuzz_link -max_len=2048 -max_total_time=3600 -jobs=2 /tmp/corpus
//
// A small chunk brings the bounds within reach of short inputs. An input's first byte chooses what becomes of the rest:
// even: it is the stream of bytes. Odd: it is a script of requests, [type, how, n, n bytes of payload]..., which are
// framed with a valid CRC (mutation does not find one) and a sequence number and tag as `how` says, so that the session
// behind the parser is reached. Either way these must hold: nothing is executed twice, whatever is sent is frames that
// parse, memory and arithmetic are sound.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "link/session.hpp"

namespace {

using Bytes = std::vector<uint8_t>;

void require(bool condition) {
  if (!condition) std::abort();
}

void append(void* context, const uint8_t* data, size_t size) {
  require(size > 0 && size <= 32);
  auto& bytes = *static_cast<Bytes*>(context);
  bytes.insert(bytes.end(), data, data + size);
}

constexpr uint32_t kParamsBytes = 300;

struct Board {
  Bytes sent;
  Bytes params = Bytes(kParamsBytes);
  uint32_t executed = 0;
  link::Session session{{append, &sent}, {execute, this}};

  static void execute(void* context, const link::Request& request, link::Reply& reply);
};

// The chunk is smaller here than what READ may ask for: the session must refuse replies that are too long.
void Board::execute(void* context, const link::Request& request, link::Reply& reply) {
  Board& board = *static_cast<Board*>(context);
  ++board.executed;
  const link::RequestShape shape = link::kRequestShapes[static_cast<uint8_t>(request.type)];
  require(request.length == shape.fields || (shape.open && request.length > shape.fields));
  uint8_t sum = 0;  // every byte of the payload must be readable
  for (uint16_t i = 0; i < request.length; ++i) sum = static_cast<uint8_t>(sum + request.payload[i]);
  if (request.type == link::Type::kHello) return reply.set(link::HelloReply{});
  if (request.type == link::Type::kWrite) {
    const uint32_t offset = request.fields<link::WriteRequest>().offset;
    const uint16_t size = request.rest_length<link::WriteRequest>();
    if (offset > kParamsBytes || size > kParamsBytes - offset) return reply.fail(link::ErrorCode::kOutOfRange, offset);
    if (size != 0) std::memcpy(board.params.data() + offset, request.rest<link::WriteRequest>(), size);
    return;
  }
  if (request.type == link::Type::kRead) {
    const auto read = request.fields<link::ReadRequest>();
    if (read.offset > kParamsBytes || read.length > kParamsBytes - read.offset) {
      return reply.fail(link::ErrorCode::kOutOfRange, read.offset);
    }
    return reply.set_body(board.params.data() + read.offset, read.length);
  }
  reply.set(link::ResultReply{sum, 0, 0, 0, 0, 0});
}

// What a board has sent is whole frames, each a reply. Replies that are too long have been refused, so all fit.
void check_sent(Board& board) {
  link::Parser parser;
  for (const uint8_t byte : board.sent) {
    const link::Event event = parser.feed(byte);
    require(event == link::Event::kNone || event == link::Event::kFrame);
    if (event == link::Event::kFrame) require(parser.header().reply() && parser.header().version == link::kVersion);
  }
  board.sent.clear();
}

void feed(Board& board, const uint8_t* data, size_t size) {
  for (size_t i = 0; i < size; ++i) {
    const uint32_t before = board.executed;
    board.session.feed(data[i]);
    require(board.executed - before <= (data[i] == 0 ? 1U : 0U));
  }
}

// Whatever parses is encoded to something that parses to the same.
void check_round_trip(const uint8_t* data, size_t size) {
  link::Parser parser;
  for (size_t i = 0; i < size; ++i) {
    if (parser.feed(data[i]) != link::Event::kFrame) continue;
    const link::Header header = parser.header();
    require(header.length <= link::kMaxPayload);
    Bytes again;
    const size_t head = header.length / 2U;
    link::write_frame({append, &again}, header, {parser.payload(), head},
                      {parser.payload() + head, header.length - head});
    link::Parser second;
    link::Event event = link::Event::kNone;
    for (const uint8_t byte : again) event = second.feed(byte);
    require(event == link::Event::kFrame && second.header().sequence == header.sequence);
    require(second.header().length == header.length && second.crc() == parser.crc());
    require(std::memcmp(second.payload(), parser.payload(), header.length) == 0);
  }
}

// The decoder by itself, into memory of the very size that it was told of.
void check_decoder(const uint8_t* data, size_t size) {
  const size_t capacity = data[0];
  Bytes buffer(capacity);
  link::CobsDecoder decoder(buffer.data(), capacity);
  decoder.reset();
  for (size_t i = 1; i < size; ++i) {
    if (data[i] != 0) decoder.put(data[i]);
  }
  require(decoder.size() <= capacity);
}

void play(const uint8_t* data, size_t size) {
  Board board;
  uint16_t sequence = 0;
  uint8_t tag = 1;
  Bytes last;
  size_t at = 0;
  while (size - at >= 3) {
    const uint8_t type = data[at] & 0x3F, how = data[at + 1];
    size_t length = data[at + 2];
    at += 3;
    length = length < size - at ? length : size - at;
    if ((how & 1U) == 0) ++sequence;      // else the one before
    if ((how & 2U) != 0) tag = how >> 4;  // another session's
    if ((how & 4U) != 0) sequence = static_cast<uint16_t>(sequence + how * 257U);
    const link::Header header{link::kVersion, type, static_cast<uint8_t>(tag << 4), sequence, 0};
    Bytes frame;
    if (type == static_cast<uint8_t>(link::Type::kHello) && (how & 8U) != 0) {  // one that opens a session
      link::HelloRequest hello{link::kProtocol, tag, 0, how};
      link::write_frame({append, &frame}, header, {reinterpret_cast<const uint8_t*>(&hello), sizeof hello},
                        {nullptr, 0});
    } else {
      link::write_frame({append, &frame}, header, {data + at, length}, {nullptr, 0});
    }
    at += length;
    feed(board, frame.data(), frame.size());
    check_sent(board);
    // The same frame again, and the one before it: late duplicates. Only a HELLO that no request followed may be
    // executed again.
    const bool hello = type == static_cast<uint8_t>(link::Type::kHello);
    const uint32_t executed = board.executed;
    feed(board, frame.data(), frame.size());
    require(hello || board.executed == executed);
    if (!hello) feed(board, last.data(), last.size());
    check_sent(board);
    last = hello ? Bytes() : frame;
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const uint8_t mode = data[0];
  ++data;
  --size;
  if ((mode & 1U) != 0) {
    play(data, size);
    return 0;
  }
  Board board;
  feed(board, data, size);
  check_sent(board);
  if (size != 0) check_decoder(data, size);
  check_round_trip(data, size);
  return 0;
}
