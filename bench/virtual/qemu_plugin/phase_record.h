/*
 * What becomes of an image's phases: instructions by phase in one file, which bench/meters/counter.py reads, and each
 * phase that ends as an entry of a ring in another, for a virtual meter to follow (instruments/board_feed.py).
 *
 * The files are mapped, and what is counted is added to what they hold: they go on over restarts of an image. What has
 * been executed since the last change of phase is not in them yet. One thread writes.
 */
#ifndef FTTE_PHASE_RECORD_H
#define FTTE_PHASE_RECORD_H

#include <fcntl.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define PHASES 16
#define LOG_ENTRIES 65536

/* Beside a phase in the log, on machines whose marker pin is looked at: that it is, and that it is high. */
#define MARKER_SEEN (UINT32_C(1) << 31)
#define MARKER_HIGH (UINT32_C(1) << 30)

struct totals {
  char magic[8];
  uint32_t version;
  uint32_t phases;
  _Atomic uint64_t sequence; /* odd while the totals are being changed */
  uint64_t instructions[PHASES];
  uint64_t transitions;
  uint64_t boots;
};

struct log_entry {
  uint64_t at_ns; /* of CLOCK_MONOTONIC */
  uint64_t instructions;
  uint32_t ended; /* a phase, and the level of the marker pin in it */
  uint32_t entered;
};
struct phase_log {
  char magic[8];
  uint64_t capacity;
  _Atomic uint64_t written; /* entries so far; the newest LOG_ENTRIES of them are there */
  struct log_entry entries[LOG_ENTRIES];
};

struct phase_record {
  struct totals* totals;
  struct phase_log* log; /* NULL without one */
  uint64_t counted;      /* of the instructions executed, what is in the totals */
  uint64_t in_phase;     /* of those, what is not in the log */
  uint32_t phase;
  uint32_t marker; /* 0 where nobody looks at the pin, else MARKER_SEEN and its level */
};

static const char kTotalsMagic[8] = {'F', 'T', 'T', 'E', 'C', 'N', 'T', '1'};
static const char kLogMagic[8] = {'F', 'T', 'T', 'E', 'L', 'O', 'G', '1'};

static inline void append_to_log(struct phase_record* self, uint32_t phase, uint32_t marker) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  struct phase_log* log = self->log;
  const uint64_t written = atomic_load_explicit(&log->written, memory_order_relaxed);
  log->entries[written % LOG_ENTRIES] =
      (struct log_entry){(uint64_t)now.tv_sec * 1000000000U + (uint64_t)now.tv_nsec, self->in_phase,
                         self->phase | self->marker, phase | marker};
  atomic_store_explicit(&log->written, written + 1, memory_order_release);
  self->in_phase = 0;
}

/* What was executed since the last time, of `executed` instructions in all, belongs to the present phase. */
static inline void count_phase(struct phase_record* self, uint64_t executed, bool boot, bool transition) {
  if (executed < self->counted) executed = self->counted; /* a block was cut short behind a change of the pin */
  struct totals* totals = self->totals;
  const uint64_t sequence = atomic_load_explicit(&totals->sequence, memory_order_relaxed);
  atomic_store_explicit(&totals->sequence, sequence + 1, memory_order_relaxed);
  atomic_thread_fence(memory_order_release);
  totals->instructions[self->phase] += executed - self->counted;
  totals->boots += boot;
  totals->transitions += transition;
  atomic_store_explicit(&totals->sequence, sequence + 2, memory_order_release);
  self->in_phase += executed - self->counted;
  self->counted = executed;
}

/* A phase begins. */
static inline void change_phase(struct phase_record* self, uint64_t executed, uint32_t phase, bool boot) {
  count_phase(self, executed, boot, !boot);
  if (self->log != NULL && (boot || phase != self->phase)) append_to_log(self, phase, self->marker);
  self->phase = phase < PHASES ? phase : PHASES - 1;
}

/* The marker pin gets a level: in the log, what was before ends, though the phase may go on. */
static inline void change_marker(struct phase_record* self, uint64_t executed, bool high) {
  const uint32_t marker = MARKER_SEEN | (high ? MARKER_HIGH : 0);
  if (self->totals != NULL) count_phase(self, executed, false, false);
  if (self->log != NULL && marker != self->marker) append_to_log(self, self->phase, marker);
  self->marker = marker;
}

static inline void* not_mapped(const char* what, const char* path) {
  fprintf(stderr, "phase counter: %s %s\n", what, path);
  return NULL;
}

/* Maps a file of this size that begins with `magic`, or makes one; NULL, with a message, when that cannot be. */
static inline void* map_file(const char* path, size_t size, const char* magic) {
  const int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  struct stat status;
  if (fd < 0 || fstat(fd, &status) != 0) return not_mapped("cannot open", path);
  if (status.st_size == 0 && ftruncate(fd, (off_t)size) != 0) return not_mapped("cannot extend", path);
  if (status.st_size != 0 && status.st_size != (off_t)size) return not_mapped("not a file of this kind:", path);
  void* memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  close(fd);
  if (memory == MAP_FAILED) return not_mapped("cannot map", path);
  if (status.st_size != 0 && memcmp(memory, magic, 8) != 0) return not_mapped("not a file of this kind:", path);
  return memory;
}

/* `log` may be NULL. */
static inline bool map_phases(struct phase_record* self, const char* totals, const char* log) {
  self->totals = map_file(totals, sizeof(struct totals), kTotalsMagic);
  if (self->totals == NULL) return false;
  memcpy(self->totals->magic, kTotalsMagic, sizeof kTotalsMagic);
  self->totals->version = 1;
  self->totals->phases = PHASES;
  /* An emulator killed in the middle of a change leaves it odd. */
  atomic_store(&self->totals->sequence, (atomic_load(&self->totals->sequence) + 1) & ~(uint64_t)1);
  if (log == NULL) return true;
  self->log = map_file(log, sizeof(struct phase_log), kLogMagic);
  if (self->log == NULL) return false;
  self->log->capacity = LOG_ENTRIES;
  memcpy(self->log->magic, kLogMagic, sizeof kLogMagic);
  return true;
}

#endif
