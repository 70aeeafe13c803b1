// The link's checksum and stuffing against what is published of them.
#include <cstring>
#include <initializer_list>

#include "check.hpp"
#include "link/cobs.hpp"
#include "link/crc32.hpp"

namespace {

struct Sink {
  uint8_t bytes[600];
  size_t size;
};

void keep(void* context, const uint8_t* data, size_t size) {
  auto& sink = *static_cast<Sink*>(context);
  if (sink.size + size <= sizeof sink.bytes) std::memcpy(sink.bytes + sink.size, data, size);
  sink.size += size;
}

Sink g_sink;
uint8_t g_message[520], g_decoded[520];

bool encodes_to(const uint8_t* message, size_t size, const uint8_t* expected, size_t length) {
  g_sink.size = 0;
  const link::Piece piece{message, size};
  const size_t written = link::cobs_encode({keep, &g_sink}, &piece, 1);
  return written == length && g_sink.size == length && std::memcmp(g_sink.bytes, expected, length) == 0;
}

// The check value of CRC-32/ISO-HDLC in the catalogue of parametrised CRC algorithms.
void crc_of_the_digits() {
  const char* digits = "123456789";
  CHECK_EQUAL(link::crc32(reinterpret_cast<const uint8_t*>(digits), 9), 0xCBF43926U);
}

void crc_of_nothing() { CHECK_EQUAL(link::crc32(nullptr, 0), 0U); }

void crc_in_pieces() {
  const char* digits = "123456789";
  link::Crc32 crc;
  crc.update(reinterpret_cast<const uint8_t*>(digits), 4);
  crc.update(reinterpret_cast<const uint8_t*>(digits) + 4, 5);
  CHECK_EQUAL(crc.value(), 0xCBF43926U);
}

// Cheshire and Baker's own example: "45 00 00 2C 4C 79 00 00 40 06 4F 37".
void cobs_of_the_paper() {
  const uint8_t message[] = {0x45, 0x00, 0x00, 0x2C, 0x4C, 0x79, 0x00, 0x00, 0x40, 0x06, 0x4F, 0x37};
  const uint8_t encoded[] = {0x02, 0x45, 0x01, 0x04, 0x2C, 0x4C, 0x79, 0x01, 0x05, 0x40, 0x06, 0x4F, 0x37};
  CHECK(encodes_to(message, sizeof message, encoded, sizeof encoded));
}

void cobs_at_the_limit_of_a_run() {
  std::memset(g_message, 0xA5, sizeof g_message);
  uint8_t expected[257];
  std::memset(expected, 0xA5, sizeof expected);
  expected[0] = 0xFF;
  CHECK(encodes_to(g_message, 254, expected, 255));
  expected[255] = 0x02;
  CHECK(encodes_to(g_message, 255, expected, 257));
}

void cobs_there_and_back() {
  for (const size_t size : {size_t{1}, size_t{2}, size_t{253}, size_t{254}, size_t{255}, size_t{509}}) {
    for (size_t i = 0; i < size; ++i) g_message[i] = static_cast<uint8_t>(i * 7 % 5 == 0 ? 0 : i);
    g_sink.size = 0;
    const link::Piece piece{g_message, size};
    link::cobs_encode({keep, &g_sink}, &piece, 1);
    link::CobsDecoder decoder(g_decoded, sizeof g_decoded);
    for (size_t i = 0; i < g_sink.size; ++i) {
      CHECK(g_sink.bytes[i] != 0);
      decoder.put(g_sink.bytes[i]);
    }
    CHECK(decoder.complete());
    CHECK_EQUAL(decoder.size(), size);
    CHECK(std::memcmp(g_decoded, g_message, size) == 0);
  }
}

void a_message_too_long_is_never_complete() {
  link::CobsDecoder decoder(g_decoded, 4);
  g_decoded[4] = 0x5A;
  const uint8_t encoded[] = {6, 1, 2, 3, 4, 5};
  for (const uint8_t byte : encoded) decoder.put(byte);
  CHECK(!decoder.complete());
  CHECK_EQUAL(g_decoded[4], 0x5A);
}

}  // namespace

namespace check {

extern const Case kCases[] = {
    {"crc_of_the_digits", crc_of_the_digits},
    {"crc_of_nothing", crc_of_nothing},
    {"crc_in_pieces", crc_in_pieces},
    {"cobs_of_the_paper", cobs_of_the_paper},
    {"cobs_at_the_limit_of_a_run", cobs_at_the_limit_of_a_run},
    {"cobs_there_and_back", cobs_there_and_back},
    {"a_message_too_long_is_never_complete", a_message_too_long_is_never_complete},
};
extern const size_t kCaseCount = sizeof kCases / sizeof *kCases;

}  // namespace check
