#include "link/cobs.hpp"

namespace link {
namespace {

constexpr uint8_t kLongestRun = 254;

// Collects single bytes into short writes: a call of the transport for every byte would cost more than the byte.
class Stage {
 public:
  explicit Stage(const Transport& transport) : transport_(transport) {}

  void put(uint8_t byte) {
    bytes_[used_++] = byte;
    ++total_;
    if (used_ == sizeof bytes_) flush();
  }

  void flush() {
    if (used_ != 0) transport_.write(transport_.context, bytes_, used_);
    used_ = 0;
  }

  size_t total() const { return total_; }

 private:
  const Transport& transport_;
  size_t used_ = 0;
  size_t total_ = 0;
  uint8_t bytes_[32];
};

// A position in scattered pieces.
class Cursor {
 public:
  Cursor(const Piece* pieces, size_t count) : piece_(pieces), end_(pieces + count) { skip_empty(); }

  bool at_end() const { return piece_ == end_; }
  uint8_t byte() const { return piece_->data[offset_]; }
  void next() {
    ++offset_;
    if (offset_ == piece_->size) {
      ++piece_;
      offset_ = 0;
      skip_empty();
    }
  }

 private:
  void skip_empty() {
    while (piece_ != end_ && piece_->size == 0) ++piece_;
  }

  const Piece* piece_;
  const Piece* end_;
  size_t offset_ = 0;
};

}  // namespace

void CobsDecoder::reset() {
  size_ = 0;
  remaining_ = 0;
  zero_pending_ = false;
  started_ = false;
  overflow_ = false;
}

void CobsDecoder::put(uint8_t byte) {
  started_ = true;
  if (remaining_ != 0) {
    append(byte);
    --remaining_;
    return;
  }
  if (zero_pending_) append(0);
  remaining_ = static_cast<uint8_t>(byte - 1);
  zero_pending_ = remaining_ != kLongestRun;
}

void CobsDecoder::append(uint8_t byte) {
  if (size_ == capacity_) {
    overflow_ = true;
    return;
  }
  buffer_[size_++] = byte;
}

size_t cobs_encode(const Transport& transport, const Piece* pieces, size_t count) {
  Stage stage(transport);
  Cursor cursor(pieces, count);
  bool more = true;  // a run is due: at the start, behind a zero, or because bytes are left behind a run of 254
  while (more) {
    Cursor scan = cursor;
    uint8_t run = 0;
    while (run < kLongestRun && !scan.at_end() && scan.byte() != 0) {
      scan.next();
      ++run;
    }
    stage.put(static_cast<uint8_t>(run + 1));
    for (uint8_t i = 0; i < run; ++i, cursor.next()) stage.put(cursor.byte());
    more = !cursor.at_end();
    if (more && run < kLongestRun) cursor.next();  // the zero that the run's length stands for
  }
  stage.flush();
  return stage.total();
}

}  // namespace link
