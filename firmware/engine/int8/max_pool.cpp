#include "engine/int8/max_pool.hpp"

#include "engine/int8/fixed.hpp"
#include "engine/window.hpp"

namespace ftte::int8 {
namespace {

// Numbers of a fixed width, packed from the lowest bit of the first byte on. Into null, nothing.
class Packer {
 public:
  Packer(uint8_t* bytes, int32_t width) : bytes_(bytes), width_(width) {}

  void put(int32_t number) {
    byte_ |= static_cast<uint32_t>(number) << filled_;
    filled_ += width_;
    if (filled_ == 8) flush();
  }
  void flush() {
    if (bytes_ != nullptr && filled_ > 0) *bytes_++ = static_cast<uint8_t>(byte_);
    byte_ = 0;
    filled_ = 0;
  }

 private:
  uint8_t* bytes_;
  int32_t width_;
  uint32_t byte_ = 0;
  int32_t filled_ = 0;
};

}  // namespace

void max_pool(const PoolShape& shape, const int8_t* x, int8_t* y, uint8_t* winners) {
  Packer packer(winners, shape.winner_bits());
  for (int32_t oy = 0; oy < shape.out_h; ++oy) {
    const int32_t top = oy * shape.stride_h - shape.pad_top;
    const auto rows = taps_inside(top, shape.kernel_h, shape.in_h);
    for (int32_t ox = 0; ox < shape.out_w; ++ox) {
      const int32_t left = ox * shape.stride_w - shape.pad_left;
      const auto columns = taps_inside(left, shape.kernel_w, shape.in_w);
      const int8_t* corner = x + ((top + rows.first) * shape.in_w + left + columns.first) * shape.channels;
      for (int32_t c = 0; c < shape.channels; ++c) {
        // The value above, what is left of 255 taps below: the first of equals is the largest.
        int32_t best = -128 * 256;
        const int8_t* row = corner + c;
        for (int32_t ky = rows.first; ky < rows.last; ++ky, row += shape.in_w * shape.channels) {
          const int8_t* in = row;
          for (int32_t kx = columns.first; kx < columns.last; ++kx, in += shape.channels) {
            const int32_t candidate = *in * 256 + 255 - (ky * shape.kernel_w + kx);
            best = at_least(candidate, best);
          }
        }
        packer.put(255 - (best & 255));
        *y++ = static_cast<int8_t>(best >> 8);
      }
    }
  }
  packer.flush();
}

}  // namespace ftte::int8
