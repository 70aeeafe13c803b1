// The board's side of a session: a request is executed once and has one reply; a request that is repeated, because its
// reply was lost or late, is answered from the cache.
//
// A command loop on top of it:
//
//   void handle(void* context, const link::Request& request, link::Reply& reply) {
//     switch (request.type) {
//       case link::Type::kHello: {  // called again for every HELLO: do not consume a fault record here
//         link::HelloReply hello{};
//         hello.core_hz = hal::core_hz();  // ... all but protocol, nonce and chunk_bytes, which the session fills in
//         return reply.set(hello);
//       }
//       case link::Type::kWrite: {
//         const auto write = request.fields<link::WriteRequest>();
//         if (write.offset > kSize || request.rest_length<link::WriteRequest>() > kSize - write.offset)
//           return reply.fail(link::ErrorCode::kOutOfRange, write.offset);
//         memcpy(params + write.offset, request.rest<link::WriteRequest>(), request.rest_length<link::WriteRequest>());
//         return;  // an empty reply
//       }
//       case link::Type::kRead:
//         ...
//         return reply.set_body(params + read.offset, read.length);  // sent from there, and again if asked again
//       case link::Type::kReset: return;  // the session raises reset_requested() once the reply is written
//     }
//   }
//
//   static link::Session session({uart_write, nullptr}, {handle, nullptr});
//   session.announce();  // once, at boot
//   for (;;) {
//     uint8_t byte;
//     if (!hal::uart_read(byte)) { hal::idle(); continue; }
//     session.feed(byte);  // executes the request and writes its reply when this byte completes one
//     if (session.reset_requested()) { hal::uart_flush(); hal::reset(); }
//   }
//
// The session checks tag, sequence, type and length (kRequestShapes): a handler sees known types with whole fields
// only. request.payload lies in the receive buffer and is valid until the handler returns.
// Rules beyond the page on the link in docs/architecture.md, for lines that delay or duplicate frames:
// * A HELLO that repeats the nonce of this session is the same HELLO, sent again: executed once more as long as no
//   request followed it, ignored afterwards, for then the host has its reply. One with a nonce of an earlier session
//   is late and ignored: it would undo the session, and with it the promise to execute nothing twice.
// * HELLOs and their replies are never counted, so that both ends start at zero however often a HELLO was repeated.
// * A repeated request must carry the same CRC as the cached one, else it is none of this session's and is ignored.
#pragma once

#include <cstdint>

#include "link/frame.hpp"
#include "link/messages.hpp"

namespace link {

struct Request {
  Type type;
  const uint8_t* payload;
  uint16_t length;

  template <typename T>
  T fields() const {  // the payload's fixed part, whose length the session has checked
    return load<T>(payload);
  }
  template <typename T>
  const uint8_t* rest() const {  // what follows the fields of a WRITE or STREAM
    return payload + sizeof(T);
  }
  template <typename T>
  uint16_t rest_length() const {
    return static_cast<uint16_t>(length - sizeof(T));
  }
};

// The payload of a reply: head, then body. It is the cache as well: the body must keep its bytes until the next
// request that is executed, and is sent from where it lies.
struct Reply {
  uint8_t head[128];
  uint16_t head_length;
  uint16_t body_length;  // head and body together at most kMaxPayload
  const uint8_t* body;
  bool error;

  template <typename T>
  void set(const T& value) {
    static_assert(sizeof(T) <= sizeof(head), "a head");
    store(head, value);
    head_length = sizeof(T);
  }
  void set_body(const uint8_t* bytes, uint16_t length) {
    body = bytes;
    body_length = length;
  }
  void fail(ErrorCode code, uint32_t detail = 0);  // drops what was set before
  void clear();
};

struct Handler {
  void (*execute)(void* context, const Request& request, Reply& reply);  // reply is empty at first
  void* context;
};

struct Counters {  // since HELLO; see StatsReply
  uint32_t wire_rx, wire_tx, frames_rx, frames_tx, rx_repeated, tx_repeated, rx_corrupt, log_tx;
};

class Session {
 public:
  Session(const Transport& transport, const Handler& handler) : transport_(transport), handler_(handler) {}

  void feed(uint8_t byte);
  // Tells a host that waits for a reply that the board has booted, by an error NO_SESSION with tag 0.
  void announce();
  // Log text, to the host's log: printable ASCII, tab and line ends only; whole lines read best.
  void log(const char* text);
  // STATS is answered from it while its own request is counted and its reply is not.
  const Counters& counters() const { return counters_; }
  bool reset_requested() const { return reset_requested_; }

 private:
  void receive();
  void receive_hello(const Header& header);
  void execute(const Header& header);
  void check_reply();
  uint32_t send(const Header& to, const Reply& reply);
  void refuse(const Header& to, ErrorCode code, uint32_t detail);
  bool is_late(uint32_t nonce) const;
  void remember(uint32_t nonce);
  uint32_t frame_bytes() const { return parser_.segment_bytes() + 2; }

  Transport transport_;
  Handler handler_;
  Parser parser_;
  Reply reply_{};
  Counters counters_{};
  Header last_{};  // of the request whose reply is cached
  uint32_t last_crc_ = 0;
  uint32_t nonces_[4] = {};  // of this session, then of those before it
  uint8_t nonce_count_ = 0;
  uint8_t tag_ = 0;      // 0: no session
  bool cached_ = false;  // reply_ answers last_; false between HELLO and the first request
  bool reset_requested_ = false;
};

}  // namespace link
