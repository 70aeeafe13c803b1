// The image descriptor: what a flashed image says of itself, at a fixed place, so that the host, the builder and an
// emulator can read it from raw flash. It lies kDescriptorOffset behind the flash base, after the vector table.
#pragma once

#include <cstdint>

namespace image {

inline constexpr uint32_t kDescriptorOffset = 0x200;

// Little-endian, no padding. Fields marked [patched] are zero after linking and filled in by the builder over the raw
// binary: build_id first (SHA-256 of the binary with the patched fields zero, but image_size set, first 16 bytes),
// then image_crc32 (CRC-32 of the binary with image_crc32 zero).
struct Descriptor {
  char magic[8];             // "FTTEIMG1"
  uint32_t descriptor_size;  // sizeof(Descriptor)
  uint32_t image_size;       // [patched] bytes from flash_base to the end of the image
  uint32_t image_crc32;      // [patched]
  uint8_t build_id[16];      // [patched]
  char env[24];              // PlatformIO environment, zero-padded
  uint8_t plan_id[8];
  uint32_t flash_base, flash_size;
  uint32_t data_base, data_size;  // the data partition: a client's shard
  uint32_t ram_base, ram_size;
  uint32_t static_bytes;  // .data + .bss + .noinit without the arena and federation state
  uint32_t arena_base, arena_size;
  uint32_t federation_base, federation_size;
  uint32_t stack_limit, stack_top;
  uint32_t phase_function, phase_function_end;  // code range that stores to phase_word (Thumb bit clear)
  uint32_t phase_word;                          // address of the word that holds the current phase
};
static_assert(sizeof(Descriptor) == 8 + 4 + 4 + 4 + 16 + 24 + 8 + 16 * 4, "no padding");

extern const Descriptor kDescriptor;

}  // namespace image
