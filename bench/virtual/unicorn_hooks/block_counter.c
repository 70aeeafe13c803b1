/*
 * Counts the instructions that Unicorn executes, exactly, and ends its runs between two blocks.
 *
 * The hook is called at the begin of each translated block and adds the block's length; a hook in Python would make
 * the core twenty times slower. Runs end here alone, before the block that would begin: because a number of
 * instructions has been reached, or because a device asks for it. What a run has entered it has executed, then; only
 * a fault or a breakpoint ends one in the middle of a block, of which block_counter_uncount() takes the rest back.
 *
 * The phase: the firmware stores its number to one word, in one function. A second hook, on the instructions of that
 * function alone, looks at each store's address before it is carried out. The store and what comes before it belong to
 * the old phase, and the entry point begins phase 0, as in ../qemu_plugin/phase_counter.c.
 *
 * Unicorn's functions are given as pointers: the library that is loaded is the one to call.
 */
#define _POSIX_C_SOURCE 200809L

#include "../qemu_plugin/phase_record.h"

#include <stddef.h>
#include <stdlib.h>

#define EXPORT __attribute__((visibility("default")))
#define KNOWN 65536 /* blocks whose length is remembered, by address */

typedef int (*stop_function)(void* uc);
typedef int (*read_register_function)(void* uc, int number, void* value);
typedef int (*read_memory_function)(void* uc, uint64_t address, void* bytes, uint64_t size);

struct known {
  uint32_t address;
  uint16_t bytes, instructions;
};

/* bench/virtual/block_counter.py has the first members in the same order. */
struct block_counter {
  uint64_t executed;   /* instructions, of all blocks entered */
  uint64_t limit;      /* no block begins at or behind so many */
  uint32_t active;     /* 0: what runs is not the image, and is neither counted nor stopped */
  uint32_t stop;       /* a device asks for the end of the run */
  uint32_t ended;      /* the hook has ended the run */
  uint32_t masked;     /* an interrupt waits for PRIMASK to be cleared, which then ends the run */
  uint32_t block;      /* the last block: address and bytes */
  uint32_t block_size;
  /* from here on, this file's own */
  uint32_t behind; /* the last instruction of the phase function: what follows it */
  uint32_t entry, word;
  struct phase_record phases; /* without totals, nothing is watched */
  void* uc;
  stop_function stop_run;
  read_register_function read_register;
  read_memory_function read_memory;
  int primask;          /* Unicorn's number of it */
  const int* registers; /* of R0 to R15 */
  struct known known[KNOWN];
};

/* Thumb: an instruction whose first half-word begins with 11101, 11110 or 11111 has two. */
static bool is_wide(uint16_t half) { return half >> 11 >= 0x1D; }

static uint16_t half_at(struct block_counter* self, uint32_t address) {
  uint16_t half = 0;
  self->read_memory(self->uc, address, &half, sizeof half);
  return half;
}

static uint32_t instructions_in(struct block_counter* self, uint32_t begin, uint32_t end) {
  uint32_t count = 0;
  for (uint32_t at = begin; at < end; ++count) at += is_wide(half_at(self, at)) ? 4 : 2;
  return count;
}

static uint32_t length(struct block_counter* self, uint32_t address, uint32_t size) {
  struct known* known = &self->known[address >> 1 & (KNOWN - 1)];
  if (known->address != address || known->bytes != size) {
    known->address = address;
    known->bytes = (uint16_t)size;
    known->instructions = (uint16_t)instructions_in(self, address, address + size);
  }
  return known->instructions;
}

static bool must_end(struct block_counter* self) {
  if (self->stop != 0 || self->executed >= self->limit) return true;
  if (self->masked == 0) return false;
  uint32_t primask = 1;
  self->read_register(self->uc, self->primask, &primask);
  return primask == 0;
}

EXPORT void block_counter_on_block(void* uc, uint64_t address, uint32_t size, void* user) {
  struct block_counter* self = user;
  if (self->active == 0) return;
  if (must_end(self)) {
    self->ended = 1;
    self->stop_run(uc);
    return;
  }
  self->block = (uint32_t)address;
  self->block_size = size;
  if (self->phases.totals != NULL && self->block == self->entry) change_phase(&self->phases, self->executed, 0, true);
  self->executed += length(self, self->block, size);
}

static uint32_t value_of(struct block_counter* self, uint32_t number) {
  uint32_t value = 0;
  self->read_register(self->uc, self->registers[number], &value);
  return value;
}

/* Where a word is stored and from which register: STR in its four encodings that a compiler uses for a lone word
 * (ARMv7-M ARM, A7.7.161 and A7.7.162). False for every other instruction. */
static bool is_store(struct block_counter* self, uint32_t address, uint32_t* target, uint32_t* source) {
  const uint16_t half = half_at(self, address);
  const uint16_t second = half_at(self, address + 2);
  if (half >> 11 == 0x0C) { /* STR Rt, [Rn, #imm5] */
    *target = value_of(self, half >> 3 & 7) + (half >> 6 & 31) * 4;
    *source = half & 7;
  } else if (half >> 9 == 0x28) { /* STR Rt, [Rn, Rm] */
    *target = value_of(self, half >> 3 & 7) + value_of(self, half >> 6 & 7);
    *source = half & 7;
  } else if (half >> 4 == 0xF8C) { /* STR.W Rt, [Rn, #imm12] */
    *target = value_of(self, half & 15) + (second & 0xFFF);
    *source = second >> 12;
  } else if (half >> 4 == 0xF84 && (second & 0x0FC0) == 0) { /* STR.W Rt, [Rn, Rm, LSL #n] */
    *target = value_of(self, half & 15) + (value_of(self, second & 15) << (second >> 4 & 3));
    *source = second >> 12;
  } else {
    return false;
  }
  return true;
}

/* In the phase function to the instruction, elsewhere to the block. */
static uint64_t executed_until_here(struct block_counter* self) {
  const uint32_t end = self->block + self->block_size;
  if (self->active == 0 || self->behind < self->block || self->behind > end) return self->executed;
  return self->executed - instructions_in(self, self->behind, end);
}

/* For the phase function alone. The whole block is counted already: what follows the store is not executed yet. */
EXPORT void block_counter_on_phase_code(void* uc, uint64_t address, uint32_t size, void* user) {
  (void)uc;
  struct block_counter* self = user;
  uint32_t target = 0, source = 0;
  if (self->active == 0 || self->ended != 0 || self->phases.totals == NULL) return;
  self->behind = (uint32_t)address + size;
  if (!is_store(self, (uint32_t)address, &target, &source) || target != self->word) return;
  change_phase(&self->phases, executed_until_here(self), value_of(self, source), false);
}

/* The image, or a debugger, has given the marker pin a level; the GPIO's model says so. */
EXPORT void block_counter_marker(struct block_counter* self, bool high) {
  change_marker(&self->phases, executed_until_here(self), high);
}

/* A run ended at `pc`, in the middle of the last block: what was not executed is taken back. */
EXPORT void block_counter_uncount(struct block_counter* self, uint32_t pc) {
  const uint32_t end = self->block + self->block_size;
  if (self->block <= pc && pc < end) self->executed -= instructions_in(self, pc, end);
  self->block_size = 0;
}

EXPORT struct block_counter* block_counter_new(void* uc, stop_function stop_run, read_register_function read_register,
                                               read_memory_function read_memory, int primask, const int* registers) {
  struct block_counter* self = calloc(1, sizeof *self);
  if (self == NULL) return NULL;
  self->uc = uc;
  self->stop_run = stop_run;
  self->read_register = read_register;
  self->read_memory = read_memory;
  self->primask = primask;
  self->registers = registers;
  self->limit = UINT64_MAX;
  return self;
}

/* Counts an image's phases in files from now on; `log` may be NULL. False, with a message, when that cannot be. */
EXPORT bool block_counter_watch(struct block_counter* self, const char* totals, const char* log, uint32_t entry,
                                uint32_t word) {
  self->entry = entry;
  self->word = word;
  return self->phases.totals != NULL || map_phases(&self->phases, totals, log);
}

/* Flash has changed: the lengths that are known are another image's. */
EXPORT void block_counter_forget(struct block_counter* self) { memset(self->known, 0, sizeof self->known); }

EXPORT void block_counter_free(struct block_counter* self) {
  if (self->phases.totals != NULL) munmap(self->phases.totals, sizeof *self->phases.totals);
  if (self->phases.log != NULL) munmap(self->phases.log, sizeof *self->phases.log);
  free(self);
}
