#include "src/commands.hpp"

#include <cstring>

#include "engine/program.hpp"
#include "hal/common/stack.hpp"
#include "hal/hal.hpp"
#include "src/checksum.hpp"
#include "src/data_partition.hpp"
#include "src/exchange.hpp"
#include "src/image.hpp"
#include "src/storage.hpp"
#include "src/text.hpp"
#include "src/trainer.hpp"

namespace commands {
namespace {

using link::ErrorCode;
using link::Reply;
using link::Request;

bool g_begun;  // params are whole and their residuals initialised: training may start
hal::FaultRecord g_fault;

const image::Descriptor& descriptor() {
  return *reinterpret_cast<const image::Descriptor*>(hal::image_base() + image::kDescriptorOffset);
}

// CRC-32 of the image in flash with its CRC field read as zero; computed once, since flash does not change under it.
uint32_t image_crc32() {
  static uint32_t crc;
  static bool known;
  if (known) return crc;
  constexpr uint32_t kFieldAt = image::kDescriptorOffset + 16;
  const image::Descriptor& self = descriptor();
  if (self.image_size > kFieldAt + 4) {
    const uint8_t zero[4] = {};
    link::Crc32 running;
    flash_crc32(running, hal::image_base(), kFieldAt);
    running.update(zero, sizeof zero);
    flash_crc32(running, hal::image_base() + kFieldAt + 4, self.image_size - kFieldAt - 4);
    crc = running.value();
  }
  known = true;
  return crc;
}

void hello(Reply& reply) {
  const image::Descriptor& self = descriptor();
  link::HelloReply hello{};
  hello.dtype = static_cast<uint8_t>(kProgram.dtype);
  hello.capabilities = link::kCapabilityData | link::kCapabilityStream;
#if defined(__ARM_FP)
  hello.capabilities |= link::kCapabilityFpu;
#endif
  if (exchange::kFederated) hello.capabilities |= link::kCapabilityFederation;
  std::memcpy(hello.build_id, self.build_id, sizeof hello.build_id);
  hello.image_crc32 = image_crc32();
  hello.image_crc32_expected = self.image_crc32;
  std::memcpy(hello.plan_id, self.plan_id, sizeof hello.plan_id);
  std::memcpy(hello.env, self.env, sizeof hello.env);
  hello.reset_cause = static_cast<uint8_t>(hal::reset_cause());
  hello.clock_source = static_cast<uint8_t>(hal::clock_source());
  hello.core_hz = hal::core_hz();
  hello.params_bytes = kProgram.params_bytes;
  hello.down_bytes = kProgram.down_bytes;
  hello.sample_bytes = kProgram.sample_bytes;
  hal::device_uid(hello.device_uid);
  hello.fault_pc = g_fault.pc;
  hello.fault_lr = g_fault.lr;
  hello.fault_cfsr = g_fault.cfsr;
  hello.fault_valid = g_fault.magic == hal::kFaultMagic ? 1 : 0;
  reply.set(hello);
}

void stats(const link::Session& session, const Request& request, Reply& reply) {
  const link::Counters& counted = session.counters();
  const image::Descriptor& self = descriptor();
  link::StatsReply stats{};
  stats.wire_rx = counted.wire_rx;
  stats.wire_tx = counted.wire_tx;
  stats.frames_rx = counted.frames_rx;
  stats.frames_tx = counted.frames_tx;
  stats.rx_repeated = counted.rx_repeated;
  stats.tx_repeated = counted.tx_repeated;
  stats.rx_corrupt = counted.rx_corrupt;
  stats.overruns = hal::uart_overruns();
  stats.log_tx = counted.log_tx;
  stats.sram_static = self.static_bytes;
  stats.sram_arena = self.arena_size;
  stats.sram_federation = self.federation_size;
  stats.stack_reserved = hal::stack_reserved();
  stats.stack_high_water = hal::stack_high_water();
  stats.uptime_cycles = hal::cycles();
  if (request.fields<link::StatsRequest>().repaint != 0) hal::stack_repaint();
  reply.set(stats);
}

void write(const Request& request, Reply& reply) {
  const uint32_t offset = request.fields<link::WriteRequest>().offset;
  const uint16_t size = request.rest_length<link::WriteRequest>();
  if (offset > kProgram.params_bytes || size > kProgram.params_bytes - offset) {
    return reply.fail(ErrorCode::kOutOfRange, kProgram.params_bytes);
  }
  g_begun = false;
  std::memcpy(storage::params + offset, request.rest<link::WriteRequest>(), size);
}

void read(const Request& request, Reply& reply) {
  const auto fields = request.fields<link::ReadRequest>();
  if (fields.offset > kProgram.params_bytes || fields.length > kProgram.params_bytes - fields.offset) {
    return reply.fail(ErrorCode::kOutOfRange, kProgram.params_bytes);
  }
  reply.set_body(storage::params + fields.offset, fields.length);
}

void begin(const Request& request, Reply& reply) {
  const uint32_t crc = link::crc32(storage::params, kProgram.down_bytes);
  if (crc != request.fields<link::BeginRequest>().crc32) return reply.fail(ErrorCode::kParamsCorrupt, crc);
  exchange::begun();
  kProgram.begin(storage::params);
  g_begun = true;
}

void encode(const Request& request, Reply& reply) {
  if (!g_begun) return reply.fail(ErrorCode::kNotBegun);
  exchange::encode(request.fields<link::EncodeRequest>(), reply);
}

void apply(const Request& request, Reply& reply) {
  g_begun = false;
  if (!exchange::apply(request.fields<link::ApplyRequest>(), reply)) return;
  kProgram.begin(storage::params);
  g_begun = true;
}

// Whether TRAIN and EVALUATE may run; refuses with the reason otherwise.
bool ready(Reply& reply) {
  if (!g_begun) {
    reply.fail(ErrorCode::kNotBegun);
  } else if (data::state() == data::State::kAbsent) {
    reply.fail(ErrorCode::kDataAbsent);
  } else if (data::state() == data::State::kCorrupt) {
    reply.fail(ErrorCode::kDataCorrupt, data::header().crc32);
  } else if (data::header().sample_bytes != kProgram.sample_bytes || data::header().classes != kProgram.classes) {
    reply.fail(ErrorCode::kDataMismatch, kProgram.sample_bytes);
  } else {
    return true;
  }
  return false;
}

void answer(const trainer::Summary& summary, Reply& reply) {
  if (summary.bad_label) return reply.fail(ErrorCode::kDataMismatch, kProgram.classes);
  reply.set(
      link::ResultReply{summary.samples, summary.correct, summary.loss_q16, summary.saturated, 0, summary.cycles});
}

void train(const Request& request, Reply& reply) {
  const auto fields = request.fields<link::TrainRequest>();
  if (!ready(reply)) return;
  answer(trainer::train(fields.first, fields.count, {fields.learning_rate_q16, fields.seed}), reply);
}

void evaluate(const Request& request, Reply& reply) {
  const auto fields = request.fields<link::EvaluateRequest>();
  if (!ready(reply)) return;
  answer(trainer::evaluate(fields.first, fields.count), reply);
}

void stream(const Request& request, Reply& reply) {
  const auto fields = request.fields<link::StreamRequest>();
  const uint32_t expected = fields.count * (1 + kProgram.sample_bytes);
  if (!g_begun) return reply.fail(ErrorCode::kNotBegun);
  if (request.rest_length<link::StreamRequest>() != expected) return reply.fail(ErrorCode::kBadLength, expected);
  const trainer::Hyper hyper{fields.learning_rate_q16, fields.seed};
  answer(trainer::train_records(request.rest<link::StreamRequest>(), fields.count, hyper), reply);
}

void data_info(Reply& reply) {
  link::DataReply info{};
  const data::State state = data::state();
  info.capacity = hal::data_partition_size();
  if (state != data::State::kAbsent) {
    const data::Header& header = data::header();
    info.present = 1;
    info.crc_ok = state == data::State::kReady ? 1 : 0;
    info.count = header.count;
    info.sample_bytes = header.sample_bytes;
    info.classes = header.classes;
    info.crc32 = header.crc32;
    std::memcpy(info.shard_id, header.shard_id, sizeof info.shard_id);
  }
  reply.set(info);
}

}  // namespace

void execute(void* session, const Request& request, Reply& reply) {
  switch (request.type) {
    case link::Type::kHello:
      return hello(reply);
    case link::Type::kStats:
      return stats(*static_cast<const link::Session*>(session), request, reply);
    case link::Type::kWrite:
      return write(request, reply);
    case link::Type::kRead:
      return read(request, reply);
    case link::Type::kBegin:
      return begin(request, reply);
    case link::Type::kTrain:
      return train(request, reply);
    case link::Type::kEvaluate:
      return evaluate(request, reply);
    case link::Type::kStream:
      return stream(request, reply);
    case link::Type::kData:
      return data_info(reply);
    case link::Type::kEncode:
      return encode(request, reply);
    case link::Type::kFetch:
      return exchange::fetch(request.fields<link::ReadRequest>(), reply);
    case link::Type::kLoad:
      return exchange::load(request, reply);
    case link::Type::kApply:
      return apply(request, reply);
    case link::Type::kReset:
      return;  // the command loop resets once the reply is out
  }
}

void log_boot(link::Session& session) {
  static const char* const kCauses[] = {"unknown", "power-on", "pin", "software", "watchdog", "fault"};
  static const char* const kClocks[] = {"reset default", "internal PLL", "crystal PLL", "crystal"};
  g_fault = hal::take_fault();
  text::Line line;
  line.add("ftte ").add(descriptor().env).add(": reset by ").add(kCauses[static_cast<uint8_t>(hal::reset_cause())]);
  line.add(", ").add_decimal(hal::core_hz()).add(" Hz from ").add(kClocks[static_cast<uint8_t>(hal::clock_source())]);
  session.log(line.end());
  if (g_fault.magic != hal::kFaultMagic) return;
  text::Line fault;
  fault.add("fault before this boot: pc ").add_hex(g_fault.pc).add(" lr ").add_hex(g_fault.lr);
  fault.add(" cfsr ").add_hex(g_fault.cfsr).add(" address ").add_hex(g_fault.address);
  session.log(fault.end());
}

}  // namespace commands
