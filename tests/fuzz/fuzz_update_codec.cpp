// Fuzz target of the update codec. The tests run it for ten seconds; longer, by hand:
//
//   clang++ -std=c++17 -O1 -g -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=all -Ifirmware
//     tests/fuzz/fuzz_update_codec.cpp firmware/federation/*.cpp -o /tmp/fuzz_update_codec
//   mkdir -p /tmp/corpus && /tmp/fuzz_update_codec -max_len=1024 -max_total_time=3600 -jobs=2 /tmp/corpus
//
// An input's first four bytes choose what is done, settings and sizes. The rest is a message to decode (its header put
// right, as mutation would not find it), or parameters to encode. These must hold: memory and arithmetic are sound; an
// update fits its bound and decodes, and with what is left gives what was to be sent; a refused download changes
// nothing.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "federation/differences.hpp"
#include "federation/download.hpp"
#include "federation/update.hpp"
#include "federation/update_format.hpp"

using namespace federation;

namespace {

using Bytes = std::vector<uint8_t>;  // of just the size: the sanitiser sees a read behind the end

void require(bool condition) {
  if (!condition) std::abort();
}

Bytes rest_of(const uint8_t* data, size_t size) { return {data, data + size}; }

void decode(const UpdateSettings& settings, uint32_t values, Bytes message) {
  const Span span{Kind::kInt32, values, 0, 0, 0};
  const uint8_t header[] = {kFormatVersion << 4 | kUpdateMessage,
                            update_flags(settings),
                            static_cast<uint8_t>(settings.keep - 1),
                            static_cast<uint8_t>(values),
                            0,
                            0,
                            0};
  message.insert(message.begin(), header, header + sizeof(header));
  std::vector<int32_t> deltas(values);
  decode_update(settings, {&span, 1}, message.data(), static_cast<uint32_t>(message.size()), deltas.data());
}

void apply(uint32_t values, Bytes message, bool dense) {
  const Segment segments[] = {{true, values / 5}, {false, values}};
  const uint32_t size = values / 5 * 4 + values;
  const uint8_t header[] = {static_cast<uint8_t>(kFormatVersion << 4 | (dense ? kDenseMessage : kDifferenceMessage)),
                            static_cast<uint8_t>(size), static_cast<uint8_t>(size >> 8), 0, 0};
  message.insert(message.begin(), header, header + sizeof(header));
  std::vector<uint32_t> words(size / 4 + 1, 0x12345678);
  const std::vector<uint32_t> before = words;
  const Error error = apply_download(segments, 2, message.data(), static_cast<uint32_t>(message.size()),
                                     reinterpret_cast<uint8_t*>(words.data()));
  require(error == Error::kNone || words == before);
}

// The input is parameters, base and errors of one tensor, one behind the other.
void encode(const UpdateSettings& settings, Kind kind, const Bytes& input) {
  const uint32_t width = error_bytes(kind) == 4 ? 4 : 1;
  const auto values = static_cast<uint32_t>(input.size() / (3 * width + error_bytes(kind)));
  if (values == 0) return;
  const Span span{kind, values, 0, (values * width + 3) / 4 * 4, 0};
  std::vector<int32_t> params(values * 2 + 1);  // with residuals
  std::vector<int32_t> base(values);
  std::vector<int32_t> errors(values);
  std::memcpy(params.data(), input.data(), values * width);
  std::memcpy(reinterpret_cast<uint8_t*>(params.data()) + span.residual, input.data() + values * width, values * width);
  std::memcpy(base.data(), input.data() + 2 * values * width, values * width);
  std::memcpy(errors.data(), input.data() + 3 * values * width, values * error_bytes(kind));
  const auto* from = reinterpret_cast<const uint8_t*>(params.data());
  const auto* to = reinterpret_cast<const uint8_t*>(base.data());
  auto* kept = reinterpret_cast<uint8_t*>(errors.data());

  std::vector<int32_t> p(values);
  for (uint32_t first = 0; first < values; first += kBlock) {
    const uint32_t n = values - first < kBlock ? values - first : kBlock;
    differences(span, {from, to, kept}, first, n, p.data() + first);
  }
  Bytes out(max_update_bytes(values, blocks_of(values), settings.bits));
  const Encoded done =
      encode_update(settings, {&span, 1}, from, to, kept, out.data(), static_cast<uint32_t>(out.size()));
  require(done.error == Error::kNone);
  std::vector<int32_t> deltas(values);
  const Bytes message = rest_of(out.data(), done.bytes);
  require(decode_update(settings, {&span, 1}, message.data(), done.bytes, deltas.data()) == Error::kNone);
  for (uint32_t i = 0; i < values && done.clipped == 0; ++i) {
    const int32_t left = error_bytes(kind) == 4 ? errors[i] : reinterpret_cast<const int16_t*>(kept)[i];
    require(deltas[i] + left == p[i]);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 4) return 0;
  const UpdateSettings settings{static_cast<uint8_t>(1U << (data[1] & 3)), static_cast<uint16_t>(data[2] + 1),
                                (data[1] & 4) != 0, (data[1] & 8) != 0};
  const Bytes rest = rest_of(data + 4, size - 4);
  if (data[0] % 3 == 0) decode(settings, data[3], rest);
  if (data[0] % 3 == 1) apply(data[3], rest, (data[1] & 1) != 0);
  if (data[0] % 3 == 2) encode(settings, static_cast<Kind>(data[3] % 7), rest);
  return 0;
}
