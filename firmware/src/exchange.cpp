#include "src/exchange.hpp"

#include <cstring>

#include "federation/layout.hpp"
#include "src/checksum.hpp"
#include "src/storage.hpp"

namespace exchange {
namespace {

using ftte::program::kArenaBytes;
using ftte::program::kBaseBytes;
using ftte::program::kErrorBytes;
using link::ErrorCode;
using link::Reply;

constexpr uint8_t kEntropy = 1;
constexpr uint8_t kErrorFeedback = 2;
constexpr uint8_t kForget = 4;

// From this offset on, FETCH and LOAD mean the error feedback, so that the host can keep it and bring it back.
constexpr uint32_t kFeedbackAt = 1U << 31;

struct Memory {
  uint8_t* at;
  uint32_t bytes;
};

// What lies from an offset on; no bytes beyond the end.
Memory memory_at(uint32_t offset) {
  if constexpr (kFederated) {
    if (offset >= kFeedbackAt) {
      const uint32_t from = offset - kFeedbackAt;
      return from > kErrorBytes ? Memory{nullptr, 0} : Memory{storage::errors + from, kErrorBytes - from};
    }
  }
  return offset > kArenaBytes ? Memory{nullptr, 0} : Memory{storage::arena + offset, kArenaBytes - offset};
}

bool refuses(Reply& reply) {
  if (!kFederated) reply.fail(ErrorCode::kNotFederated);
  return !kFederated;
}

}  // namespace

void begun() {
  if constexpr (kFederated) std::memcpy(storage::base, storage::params, kBaseBytes);
}

void encode(const link::EncodeRequest& fields, Reply& reply) {
  if (refuses(reply)) return;
  if constexpr (kFederated) {
    const bool feedback = (fields.flags & kErrorFeedback) != 0;
    const federation::UpdateSettings settings{fields.bits, fields.keep, (fields.flags & kEntropy) != 0, feedback};
    if ((fields.flags & kForget) != 0) std::memset(storage::errors, 0, kErrorBytes);
    const federation::Encoded encoded =
        federation::encode_update(settings, kFederation.spans, storage::params, storage::base,
                                  feedback ? storage::errors : nullptr, storage::arena, kArenaBytes);
    if (encoded.error != federation::Error::kNone) {
      return reply.fail(ErrorCode::kUpdateMalformed, static_cast<uint32_t>(encoded.error));
    }
    reply.set(link::EncodeReply{encoded.bytes, link::crc32(storage::arena, encoded.bytes), encoded.clipped});
  }
}

void fetch(const link::ReadRequest& fields, Reply& reply) {
  if (refuses(reply)) return;
  const Memory memory = memory_at(fields.offset);
  if (memory.at == nullptr || fields.length > memory.bytes) return reply.fail(ErrorCode::kOutOfRange, kArenaBytes);
  reply.set_body(memory.at, fields.length);
}

void load(const link::Request& request, Reply& reply) {
  if (refuses(reply)) return;
  const uint32_t offset = request.fields<link::LoadRequest>().offset;
  const uint16_t size = request.rest_length<link::LoadRequest>();
  const Memory memory = memory_at(offset);
  if (memory.at == nullptr || size > memory.bytes) return reply.fail(ErrorCode::kOutOfRange, kArenaBytes);
  std::memcpy(memory.at, request.rest<link::LoadRequest>(), size);
}

bool apply(const link::ApplyRequest& fields, Reply& reply) {
  if (refuses(reply)) return false;
  if constexpr (kFederated) {
    if (fields.bytes > kArenaBytes) {
      reply.fail(ErrorCode::kOutOfRange, kArenaBytes);
      return false;
    }
    const federation::Error error = federation::apply_download(kFederation.segments, kFederation.segment_count,
                                                               storage::arena, fields.bytes, storage::base);
    if (error != federation::Error::kNone) {
      reply.fail(ErrorCode::kUpdateMalformed, static_cast<uint32_t>(error));
      return false;
    }
    const uint32_t crc = link::crc32(storage::base, kBaseBytes);
    if (crc != fields.crc32) {
      reply.fail(ErrorCode::kParamsCorrupt, crc);
      return false;
    }
    std::memcpy(storage::params, storage::base, kBaseBytes);
  }
  return kFederated;
}

}  // namespace exchange
