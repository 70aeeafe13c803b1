#include "link/session.hpp"

#include <cstddef>
#include <cstring>

namespace link {

void Reply::clear() {
  head_length = 0;
  body_length = 0;
  body = nullptr;
  error = false;
}

void Reply::fail(ErrorCode code, uint32_t detail) {
  clear();
  set(ErrorReply{static_cast<uint8_t>(code), {0, 0, 0}, detail});
  error = true;
}

void Session::feed(uint8_t byte) {
  const Event event = parser_.feed(byte);
  if (byte != 0) return;
  ++counters_.wire_rx;  // the delimiter; what it ended counts unless it was log text
  if (event == Event::kFrame || event == Event::kCorrupt) counters_.wire_rx += parser_.segment_bytes();
  if (event == Event::kCorrupt) ++counters_.rx_corrupt;
  if (event == Event::kFrame) receive();
}

void Session::receive() {
  const Header header = parser_.header();
  ++counters_.frames_rx;
  // A reply here is an echo of our own; another version's payloads cannot be understood.
  if (header.version != kVersion || header.reply()) return;
  if (header.type == static_cast<uint8_t>(Type::kHello)) return receive_hello(header);
  if (tag_ == 0) return refuse(header, ErrorCode::kNoSession, 0);
  if (header.tag() != tag_) return;
  if (header.sequence == last_.sequence) {
    if (!cached_ || parser_.crc() != last_crc_) return;
    counters_.rx_repeated += frame_bytes();
    counters_.tx_repeated += send(last_, reply_);
    return;
  }
  if (header.sequence == static_cast<uint16_t>(last_.sequence + 1)) execute(header);
}

void Session::receive_hello(const Header& header) {
  const uint32_t counted = frame_bytes();
  --counters_.frames_rx;
  counters_.wire_rx -= counted < counters_.wire_rx ? counted : counters_.wire_rx;
  if (header.length != sizeof(HelloRequest)) return refuse(header, ErrorCode::kBadLength, sizeof(HelloRequest));
  const auto hello = load<HelloRequest>(parser_.payload());
  if (hello.tag == 0 || hello.tag > 15) return refuse(header, ErrorCode::kOutOfRange, hello.tag);
  const bool again = tag_ != 0 && hello.nonce == nonces_[0];
  if (again ? cached_ : is_late(hello.nonce)) return;
  if (!again) remember(hello.nonce);

  tag_ = hello.tag;
  last_ = header;
  last_.flags = static_cast<uint8_t>(hello.tag << 4);
  cached_ = false;
  reset_requested_ = false;
  reply_.clear();
  handler_.execute(handler_.context, {Type::kHello, parser_.payload(), header.length}, reply_);
  check_reply();
  if (!reply_.error && reply_.head_length == sizeof(HelloReply)) {
    store(reply_.head + offsetof(HelloReply, protocol), kProtocol);
    store(reply_.head + offsetof(HelloReply, nonce), hello.nonce);
    store(reply_.head + offsetof(HelloReply, chunk_bytes), kChunkBytes);
  }
  send(last_, reply_);
  counters_ = {};
}

void Session::execute(const Header& header) {
  last_ = header;
  last_crc_ = parser_.crc();
  cached_ = true;
  reply_.clear();
  if (header.type == 0 || header.type > kLastType) {
    reply_.fail(ErrorCode::kUnknownType, header.type);
  } else {
    const RequestShape shape = kRequestShapes[header.type];
    if (header.length < shape.fields || (header.length > shape.fields && !shape.open)) {
      reply_.fail(ErrorCode::kBadLength, shape.fields);
    } else {
      handler_.execute(handler_.context, {static_cast<Type>(header.type), parser_.payload(), header.length}, reply_);
      check_reply();
    }
  }
  send(header, reply_);
  reset_requested_ = header.type == static_cast<uint8_t>(Type::kReset) && !reply_.error;
}

// A handler's mistake must not become a frame that no host accepts.
void Session::check_reply() {
  if (reply_.head_length > sizeof reply_.head || reply_.head_length + size_t{reply_.body_length} > kMaxPayload) {
    reply_.fail(ErrorCode::kOutOfRange, reply_.head_length + uint32_t{reply_.body_length});
  }
}

uint32_t Session::send(const Header& to, const Reply& reply) {
  Header header = to;
  header.version = kVersion;
  header.flags = static_cast<uint8_t>((to.flags & 0xF0) | kFlagReply | (reply.error ? kFlagError : 0));
  const uint32_t written =
      write_frame(transport_, header, {reply.head, reply.head_length}, {reply.body, reply.body_length});
  counters_.wire_tx += written;
  ++counters_.frames_tx;
  return written;
}

// An error that is not the reply of the session, so it leaves the cache alone.
void Session::refuse(const Header& to, ErrorCode code, uint32_t detail) {
  uint8_t payload[sizeof(ErrorReply)];
  store(payload, ErrorReply{static_cast<uint8_t>(code), {0, 0, 0}, detail});
  Header header = to;
  header.version = kVersion;
  header.flags = static_cast<uint8_t>((to.flags & 0xF0) | kFlagReply | kFlagError);
  const uint32_t written = write_frame(transport_, header, {payload, sizeof payload}, {nullptr, 0});
  if (to.type == static_cast<uint8_t>(Type::kHello)) return;
  counters_.wire_tx += written;
  ++counters_.frames_tx;
}

void Session::announce() {
  const Header header{kVersion, static_cast<uint8_t>(Type::kHello), 0, 0, 0};
  refuse(header, ErrorCode::kNoSession, 0);
}

void Session::log(const char* text) {
  const size_t size = std::strlen(text);
  if (size == 0) return;
  transport_.write(transport_.context, reinterpret_cast<const uint8_t*>(text), size);
  counters_.log_tx += static_cast<uint32_t>(size);
}

bool Session::is_late(uint32_t nonce) const {
  for (uint8_t i = 0; i < nonce_count_; ++i) {
    if (nonces_[i] == nonce) return true;
  }
  return false;
}

void Session::remember(uint32_t nonce) {
  constexpr uint8_t kKept = sizeof nonces_ / sizeof nonces_[0];
  for (uint8_t i = kKept - 1; i > 0; --i) nonces_[i] = nonces_[i - 1];
  nonces_[0] = nonce;
  if (nonce_count_ < kKept) ++nonce_count_;
}

}  // namespace link
