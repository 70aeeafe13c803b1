#include "federation/bits.hpp"
#include "federation/differences.hpp"
#include "federation/update.hpp"
#include "federation/update_format.hpp"

namespace federation {

namespace {

struct Block {
  uint32_t n;
  int32_t p[kBlock];
  uint8_t z[kBlock];  // zigzag of the levels
};

// Which values stay: those of magnitude above `least`, and the first `ties` of that magnitude.
struct Kept {
  uint32_t least;
  uint32_t ties;
};

struct Scale {
  uint32_t code;
  uint32_t value;
};

constexpr uint32_t magnitude(int32_t value) {
  const int32_t sign = value >> 31;
  return static_cast<uint32_t>((value ^ sign) - sign);
}

constexpr uint32_t bit_length(uint32_t value) {
  uint32_t length = 0;
  for (; value != 0; value >>= 1) ++length;
  return length;
}

uint32_t largest(const Block& block) {
  uint32_t found = 0;
  for (uint32_t i = 0; i < block.n; ++i) {
    const uint32_t m = magnitude(block.p[i]);
    if (m > found) found = m;
  }
  return found;
}

// The `wanted` largest magnitudes. The least of them is found from its highest bit down, as the largest number that so
// many values reach; the search ends early when just as many values are above as stay.
Kept select(const Block& block, uint32_t wanted, uint32_t peak) {
  if (wanted == block.n) return {0, block.n};
  uint32_t least = 0;
  uint32_t above = 0;  // how many values are larger than all numbers that begin as `least` does
  for (uint32_t length = bit_length(peak); length-- > 0;) {
    const uint32_t tried = (least >> length) | 1;
    uint32_t reach = 0;
    for (uint32_t i = 0; i < block.n; ++i) reach += (magnitude(block.p[i]) >> length) == tried ? 1U : 0U;
    if (above + reach == wanted) return {(tried << length) - 1, 0};
    if (above + reach > wanted) {
      least |= 1U << length;
    } else {
      above += reach;
    }
  }
  return {least, wanted - above};
}

// The smallest scale that is not below q, 1 <= q <= kLargest.
Scale scale_above(uint32_t q) {
  uint32_t up = 0;
  for (uint32_t mantissa = q; mantissa < 8 && up < 3; mantissa <<= 1) ++up;
  uint32_t down = 0;
  for (uint32_t mantissa = q; mantissa >= 16; mantissa >>= 1) ++down;
  const uint32_t mantissa = ((q << up) + (1U << down) - 1) >> down;
  uint32_t code = (3 - up + down) * 8 + mantissa - 8;  // a mantissa of 16 carries into the exponent
  if (code == kZeros) code = 1;
  return {code, scale_of(code)};
}

// Of the kept values that are not 0, what the mean magnitude is at most (update.hpp); the peak is not 0.
uint32_t mean_magnitude(const Block& block, const Kept& kept, uint32_t peak) {
  const uint32_t length = bit_length(peak);
  const uint32_t shift = length > 26 ? length - 26 : 0;
  uint32_t ties = kept.least != 0 ? kept.ties : 0;
  uint32_t sum = ties * (kept.least >> shift);
  uint32_t count = ties;
  for (uint32_t i = 0; i < block.n; ++i) {
    const uint32_t m = magnitude(block.p[i]);
    if (m <= kept.least) continue;
    sum += m >> shift;
    ++count;
  }
  return (count > 1 ? (sum + count - 1) / count : sum) << shift;
}

// ceil(2^16 / divisor): multiplications by these are cheaper than a division that a Cortex-M0 has to call.
constexpr uint16_t kReciprocals[16] = {0,    0,    32768, 21846, 16384, 13108, 10923, 9363,
                                       8192, 7282, 6554,  5958,  5462,  5042,  4682,  4370};

// Divides by a scale, rounding to nearest, halves up, for quotients up to 127 (update.hpp says why it is exact).
class Divider {
 public:
  explicit Divider(uint32_t scale) : scale_(scale) {
    const uint32_t length = bit_length(scale);
    shift_ = length > 3 ? length - 3 : 0;
    reciprocal_ = kReciprocals[(scale << 1) >> shift_];  // 2 * scale = divisor << shift
  }

  uint32_t operator()(uint32_t m) const { return (((m << 1) + scale_) >> shift_) * reciprocal_ >> 16; }

 private:
  uint32_t scale_, shift_, reciprocal_;
};

// Levels into block.z, what they leave into block.p.
void quantise(Block& block, const Kept& kept, uint32_t scale) {
  const Divider divide(scale);
  uint32_t ties = kept.ties;
  for (uint32_t i = 0; i < block.n; ++i) {
    const int32_t sign = block.p[i] >> 31;
    const uint32_t m = magnitude(block.p[i]);
    uint32_t level = 0;
    if (m > kept.least || (m == kept.least && ties != 0)) {
      if (m == kept.least) --ties;
      level = divide(m);
    }
    const auto left = static_cast<int32_t>(m - level * scale);
    block.p[i] = (left ^ sign) - sign;
    block.z[i] = static_cast<uint8_t>(level == 0 ? 0 : level * 2 + static_cast<uint32_t>(sign));
  }
}

// Whether zeros are so few that 1-bit levels pass over them (update.hpp).
bool few_zeros(const Block& block) {
  uint32_t zeros = 0;
  for (uint32_t i = 0; i < block.n; ++i) zeros += block.p[i] == 0 ? 1U : 0U;
  return zeros * 4 <= block.n;
}

// The same as quantise() for 1-bit levels.
void take_signs(Block& block, const Kept& kept, bool all_stay, int32_t scale) {
  const bool no_zeros = all_stay && few_zeros(block);
  uint32_t ties = kept.ties;
  for (uint32_t i = 0; i < block.n; ++i) {
    const int32_t p = block.p[i];
    const uint32_t m = magnitude(p);
    bool stays = m > kept.least;
    if (m == kept.least && ties != 0) {
      --ties;
      stays = true;
    }
    block.z[i] = 0;
    if (!stays || (p == 0 && !no_zeros)) continue;
    const bool negative = p != 0 ? p < 0 : (i & 1) != 0;
    block.z[i] = negative ? 1 : 2;
    block.p[i] = negative ? p + scale : p - scale;
  }
}

// Of up to 64 numbers below 256 the sum of number >> k for every k: from how many of them have bit j.
class ShiftedSums {
 public:
  [[gnu::always_inline]] void add(uint32_t number) {
    // Eight counts of up to 64, a byte each; the multiplication spreads four bits so.
    low_ += (number & 15) * 0x00204081U & 0x01010101U;
    high_ += (number >> 4) * 0x00204081U & 0x01010101U;
  }

  // sums[k] for k below 8.
  void finish(uint16_t* sums) const {
    uint32_t sum = 0;
    for (uint32_t k = 8; k-- > 0;) {
      sum = sum * 2 + ((k < 4 ? low_ >> k * 8 : high_ >> (k - 4) * 8) & 0xFF);
      sums[k] = static_cast<uint16_t>(sum);
    }
  }

 private:
  uint32_t low_ = 0, high_ = 0;
};

// What a block's levels take in each mode.
class Payload {
 public:
  Payload(const Block& block, uint32_t bits) : n_(block.n), bits_(bits) {
    ShiftedSums levels;
    for (uint32_t i = 0; i < block.n; ++i) {
      const uint32_t z = block.z[i];
      if (z == 0) continue;
      levels.add(z);
      ++nonzero_;
    }
    levels.finish(levels_);
    if (!sparse()) return;
    ShiftedSums runs;
    uint32_t run = 0;
    for (uint32_t i = 0; i < block.n; ++i) {
      if (block.z[i] == 0) {
        ++run;
      } else {
        runs.add(run);
        run = 0;
      }
    }
    runs.finish(runs_);
  }

  // Whether runs are worth a try.
  bool sparse() const { return nonzero_ * 2 <= n_; }

  uint32_t bits_in(uint32_t mode) const {
    const uint32_t values = nonzero_ * nonzero_width(bits_);
    if (mode == kPlain && bits_ == 1) return 1 + n_ + (nonzero_ == n_ ? 0 : values);
    if (mode == kPlain) return n_ * bits_;
    if (mode == kBitmap) return n_ + values;
    if (mode < kBitmap) return levels_[mode - kRice] + n_ * (mode - kRice + 1);
    return kCountBits + runs_[mode - kRuns] + nonzero_ * (mode - kRuns + 1) + values;
  }

 private:
  uint32_t n_, bits_;
  uint32_t nonzero_ = 0;
  uint16_t levels_[8] = {}, runs_[8] = {};  // sums of what is left of each z and each run without its low k bits
};

uint32_t choose_mode(const Block& block, const UpdateSettings& settings, uint32_t current) {
  if (!settings.entropy) return kPlain;
  const Payload payload(block, settings.bits);
  const uint32_t change = current == kPlain ? 16 : 8;
  uint32_t best = kPlain;
  uint32_t least = payload.bits_in(kPlain);
  const uint32_t modes = payload.sparse() ? kModes : kRuns;
  for (uint32_t mode = kPlain + 1; mode < modes; ++mode) {
    if (!allowed(mode, settings)) continue;
    const uint32_t cost = payload.bits_in(mode) + (mode == current ? 0 : change);
    if (cost >= least) continue;
    least = cost;
    best = mode;
  }
  return best;
}

// z - less of all levels.
void write_all(BitWriter& stream, const Block& block, uint32_t less, uint32_t width) {
  BitWriter writer = stream;
  for (uint32_t i = 0; i < block.n; ++i) writer.put(block.z[i] - less, width);
  stream = writer;
}

// z - 1 of those that are not 0.
void write_nonzero(BitWriter& stream, const Block& block, uint32_t bits) {
  BitWriter writer = stream;
  const uint32_t width = nonzero_width(bits);
  for (uint32_t i = 0; i < block.n; ++i) {
    if (block.z[i] != 0) writer.put(block.z[i] - 1U, width);
  }
  stream = writer;
}

void write_bitmap(BitWriter& stream, const Block& block, uint32_t bits) {
  BitWriter writer = stream;
  for (uint32_t i = 0; i < block.n; ++i) writer.put(block.z[i] != 0 ? 1 : 0, 1);
  stream = writer;
  write_nonzero(stream, block, bits);
}

void write_signs(BitWriter& stream, const Block& block) {
  uint32_t zeros = 0;
  for (uint32_t i = 0; i < block.n; ++i) zeros += block.z[i] == 0 ? 1U : 0U;
  stream.put(zeros != 0 ? 1 : 0, 1);
  if (zeros != 0) {
    write_bitmap(stream, block, 1);
  } else {
    write_all(stream, block, 1, 1);
  }
}

void write_rice(BitWriter& stream, const uint8_t* numbers, uint32_t n, uint32_t k) {
  BitWriter writer = stream;
  for (uint32_t i = 0; i < n; ++i) writer.put_unary(numbers[i] >> k);
  const uint32_t mask = (1U << k) - 1;
  if (k != 0) {
    for (uint32_t i = 0; i < n; ++i) writer.put(numbers[i] & mask, k);
  }
  stream = writer;
}

void write_runs(BitWriter& stream, const Block& block, uint32_t k, uint32_t bits) {
  uint8_t runs[kBlock];
  uint32_t count = 0;
  uint8_t run = 0;
  for (uint32_t i = 0; i < block.n; ++i) {
    if (block.z[i] == 0) {
      ++run;
    } else {
      runs[count++] = run;
      run = 0;
    }
  }
  stream.put(count - 1, kCountBits);
  write_rice(stream, runs, count, k);
  write_nonzero(stream, block, bits);
}

void write_levels(BitWriter& stream, const Block& block, uint32_t mode, uint32_t bits) {
  if (mode == kPlain && bits == 1) {
    write_signs(stream, block);
  } else if (mode == kPlain) {
    write_all(stream, block, 0, bits);
  } else if (mode == kBitmap) {
    write_bitmap(stream, block, bits);
  } else if (mode < kBitmap) {
    write_rice(stream, block.z, block.n, mode - kRice);
  } else {
    write_runs(stream, block, mode - kRuns, bits);
  }
}

uint32_t keep_errors(const Span& span, uint32_t first, const Block& block, uint8_t* errors) {
  if (error_bytes(span.kind) == 4) {
    auto* e = reinterpret_cast<int32_t*>(errors + span.error) + first;
    for (uint32_t i = 0; i < block.n; ++i) e[i] = block.p[i];
    return 0;
  }
  uint32_t clipped = 0;
  auto* e = reinterpret_cast<int16_t*>(errors + span.error) + first;
  for (uint32_t i = 0; i < block.n; ++i) {
    const int32_t left = block.p[i];
    const int32_t kept = left > INT16_MAX ? INT16_MAX : left < INT16_MIN ? INT16_MIN : left;
    clipped += kept != left ? 1U : 0U;
    e[i] = static_cast<int16_t>(kept);
  }
  return clipped;
}

// Quantises a block and writes it; block.p becomes what is left.
void write_block(BitWriter& stream, Block& block, const UpdateSettings& settings, uint32_t& mode) {
  const uint32_t peak = largest(block);
  if (peak == 0) {
    stream.put(kZeros, 8);
    return;
  }
  const Kept kept = select(block, (block.n * settings.keep + 255) >> 8, peak);
  Scale scale{};
  if (settings.bits == 1) {
    scale = scale_above(mean_magnitude(block, kept, peak));
    take_signs(block, kept, settings.keep == 256, static_cast<int32_t>(scale.value));
  } else {
    const uint32_t most = (1U << (settings.bits - 1)) - 1;
    scale = scale_above((peak + most - 1) / most);
    quantise(block, kept, scale.value);
  }
  const uint32_t chosen = choose_mode(block, settings, mode);
  if (chosen != mode) stream.put(kSwitch + chosen, 8);
  mode = chosen;
  stream.put(scale.code, 8);
  write_levels(stream, block, mode, settings.bits);
}

void write_header(BitWriter& stream, const UpdateSettings& settings, uint32_t values) {
  stream.put(kFormatVersion << 4 | kUpdateMessage, 8);
  stream.put(update_flags(settings), 8);
  stream.put(settings.keep - 1U, 8);
  stream.put(values & 0xFFFF, 16);
  stream.put(values >> 16, 16);
}

}  // namespace

Encoded encode_update(const UpdateSettings& settings, const Spans& spans, const uint8_t* params, const uint8_t* base,
                      uint8_t* errors, uint8_t* out, uint32_t capacity) {
  const SpanTotals total = totals(spans);
  if (!valid(settings)) return {Error::kSettings, 0, 0};
  for (uint32_t i = 0; i < spans.count; ++i) {
    if (!is_supported(spans.first[i].kind)) return {Error::kSettings, 0, 0};
  }
  if (capacity < max_update_bytes(total.values, total.blocks, settings.bits)) return {Error::kNoRoom, 0, 0};

  const Model model{params, base, errors};
  BitWriter stream(out);
  write_header(stream, settings, total.values);
  uint32_t mode = kPlain;
  uint32_t clipped = 0;
  Block block;
  for (uint32_t i = 0; i < spans.count; ++i) {
    const Span& span = spans.first[i];
    for (uint32_t first = 0; first < span.count; first += kBlock) {
      block.n = span.count - first < kBlock ? span.count - first : kBlock;
      clipped += differences(span, model, first, block.n, block.p);
      write_block(stream, block, settings, mode);
      if (errors != nullptr) clipped += keep_errors(span, first, block, errors);
    }
  }
  return {Error::kNone, static_cast<uint32_t>(stream.finish() - out), clipped};
}

}  // namespace federation
