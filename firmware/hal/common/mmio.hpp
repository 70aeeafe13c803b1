// Memory-mapped registers as typed constants. Each family's registers.hpp is a plain list of these, which a test
// compares with the vendor's SVD file: so the list must stay one definition a line, named PERIPHERAL_REGISTER[_FIELD].
#pragma once

#include <cstdint>

// For functions whose argument is a constant table of registers: inlined, the table folds into the instructions.
#define FTTE_FOLDED inline __attribute__((always_inline))

namespace hal {

struct Register {
  uint32_t address;
};

struct Field {
  Register reg;
  uint32_t position;
  uint32_t width;

  constexpr uint32_t max() const { return width >= 32 ? 0xFFFFFFFFU : (1U << width) - 1U; }
  constexpr uint32_t mask() const { return max() << position; }
  constexpr uint32_t operator()(uint32_t value) const { return (value & max()) << position; }
  constexpr uint32_t of(uint32_t word) const { return (word >> position) & max(); }
};

struct Interrupt {
  uint32_t number;
};

inline volatile uint32_t& word_at(uint32_t address) {
  return *reinterpret_cast<volatile uint32_t*>(static_cast<uintptr_t>(address));
}

inline uint32_t read(Register reg) { return word_at(reg.address); }
inline uint32_t read(Field field) { return field.of(read(field.reg)); }
inline void write(Register reg, uint32_t value) { word_at(reg.address) = value; }

// Read, replace the one field, write back.
inline void write(Field field, uint32_t value) { write(field.reg, (read(field.reg) & ~field.mask()) | field(value)); }

// Polls until the field reads `value`, at most `polls` times. Every wait of the HAL is bounded by a count and not by a
// timer: it must end although no clock may be known yet, and an emulator may never grant the bit.
inline bool wait_for(Field field, uint32_t value, uint32_t polls) {
  for (; polls != 0; --polls) {
    if (read(field) == value) return true;
  }
  return false;
}

}  // namespace hal
