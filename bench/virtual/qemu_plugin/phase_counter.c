/*
 * Counts the instructions that a firmware image executes, by phase.
 *
 * The firmware stores the number of its phase to one word, in one function. Each translated block adds its length to a
 * counter in line, without a call. Only blocks that touch that function, or the image's entry point, count instruction
 * by instruction, so that the counter is exact at the store; the store and what comes before it belong to the old
 * phase. The entry point begins phase 0, boot.
 *
 * Totals lie in a file that is mapped, and are added to what it holds: they go on over restarts of QEMU. What has been
 * executed since the last change of phase is not in them yet.
 *
 * With log=FILE, each phase that ends is also an entry of a ring in that file, for a virtual meter to follow.
 *
 * Arguments: totals=FILE, begin=, end= (the function's code), word= (the phase), entry= (the reset handler), log=FILE.
 */
#define _POSIX_C_SOURCE 200809L

#include "qemu_api.h"

#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define PHASES 16

/* bench/meters/counter.py reads the same layout. */
struct totals {
  char magic[8];
  uint32_t version;
  uint32_t phases;
  _Atomic uint64_t sequence; /* odd while the totals are being changed */
  uint64_t instructions[PHASES];
  uint64_t transitions;
  uint64_t boots;
};

#define LOG_ENTRIES 65536

/* bench/virtual/instruments/board_feed.py reads the same layout. */
struct log_entry {
  uint64_t at_ns; /* of CLOCK_MONOTONIC */
  uint64_t instructions;
  uint32_t ended;
  uint32_t entered;
};
struct phase_log {
  char magic[8];
  uint64_t capacity;
  _Atomic uint64_t written; /* entries so far; the newest LOG_ENTRIES of them are there */
  struct log_entry entries[LOG_ENTRIES];
};

static const char kMagic[8] = {'F', 'T', 'T', 'E', 'C', 'N', 'T', '1'};
static const char kLogMagic[8] = {'F', 'T', 'T', 'E', 'L', 'O', 'G', '1'};

static struct totals* g_totals;
static struct phase_log* g_log; /* NULL without one */
static uint64_t g_begin, g_end, g_word, g_entry;
static qemu_plugin_u64 g_executed;
static uint64_t g_counted; /* of g_executed, what is in the totals */
static uint32_t g_phase;
static uint64_t g_in_phase; /* of g_counted, what is not in the log */

QEMU_PLUGIN_EXPORT int qemu_plugin_version = QEMU_PLUGIN_VERSION;

static void append(uint64_t instructions, uint32_t entered) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  const uint64_t written = atomic_load_explicit(&g_log->written, memory_order_relaxed);
  g_log->entries[written % LOG_ENTRIES] =
      (struct log_entry){(uint64_t)now.tv_sec * 1000000000U + (uint64_t)now.tv_nsec, instructions, g_phase, entered};
  atomic_store_explicit(&g_log->written, written + 1, memory_order_release);
}

/* Adds what was executed since the last time to the phase that ends. One virtual processor: no one else writes. */
static void change_phase(unsigned int vcpu, uint32_t phase, bool boot) {
  const uint64_t executed = qemu_plugin_u64_get(g_executed, vcpu);
  const uint64_t sequence = atomic_load_explicit(&g_totals->sequence, memory_order_relaxed);
  atomic_store_explicit(&g_totals->sequence, sequence + 1, memory_order_relaxed);
  atomic_thread_fence(memory_order_release);
  g_totals->instructions[g_phase] += executed - g_counted;
  if (boot) {
    g_totals->boots += 1;
  } else {
    g_totals->transitions += 1;
  }
  atomic_store_explicit(&g_totals->sequence, sequence + 2, memory_order_release);
  g_in_phase += executed - g_counted;
  if (g_log != NULL && (boot || phase != g_phase)) {
    append(g_in_phase, phase);
    g_in_phase = 0;
  }
  g_counted = executed;
  g_phase = phase < PHASES ? phase : PHASES - 1;
}

static void on_entry(unsigned int vcpu, void* userdata) {
  (void)userdata;
  change_phase(vcpu, 0, true);
}

static void on_store(unsigned int vcpu, qemu_plugin_meminfo_t info, uint64_t vaddr, void* userdata) {
  (void)userdata;
  if (vaddr != g_word) return;
  const qemu_plugin_mem_value value = qemu_plugin_mem_get_value(info);
  if (value.type == QEMU_PLUGIN_MEM_VALUE_U32) change_phase(vcpu, value.data.u32, false);
}

static bool is_watched(uint64_t address) { return address == g_entry || (g_begin <= address && address < g_end); }

static void on_translation(qemu_plugin_id_t id, struct qemu_plugin_tb* tb) {
  (void)id;
  const size_t count = qemu_plugin_tb_n_insns(tb);
  bool watched = false;
  for (size_t i = 0; i < count; ++i) {
    watched = watched || is_watched(qemu_plugin_insn_vaddr(qemu_plugin_tb_get_insn(tb, i)));
  }
  if (!watched) {
    qemu_plugin_register_vcpu_tb_exec_inline_per_vcpu(tb, QEMU_PLUGIN_INLINE_ADD_U64, g_executed, count);
    return;
  }
  for (size_t i = 0; i < count; ++i) {
    struct qemu_plugin_insn* insn = qemu_plugin_tb_get_insn(tb, i);
    const uint64_t address = qemu_plugin_insn_vaddr(insn);
    if (address == g_entry) qemu_plugin_register_vcpu_insn_exec_cb(insn, on_entry, QEMU_PLUGIN_CB_NO_REGS, NULL);
    qemu_plugin_register_vcpu_insn_exec_inline_per_vcpu(insn, QEMU_PLUGIN_INLINE_ADD_U64, g_executed, 1);
    if (is_watched(address)) {
      qemu_plugin_register_vcpu_mem_cb(insn, on_store, QEMU_PLUGIN_CB_NO_REGS, QEMU_PLUGIN_MEM_W, NULL);
    }
  }
}

static int fail(const char* what, const char* path) {
  fprintf(stderr, "phase counter: %s %s\n", what, path);
  return -1;
}

/* Maps a file of this size that begins with `magic`, or makes one; NULL when that cannot be. */
static void* map_file(const char* path, size_t size, const char* magic) {
  const int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  struct stat status;
  if (fd < 0 || fstat(fd, &status) != 0) return fail("cannot open", path), NULL;
  if (status.st_size == 0 && ftruncate(fd, (off_t)size) != 0) return fail("cannot extend", path), NULL;
  if (status.st_size != 0 && status.st_size != (off_t)size) return fail("not a file of this kind:", path), NULL;
  void* memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  close(fd);
  if (memory == MAP_FAILED) return fail("cannot map", path), NULL;
  if (status.st_size != 0 && memcmp(memory, magic, 8) != 0) return fail("not a file of this kind:", path), NULL;
  return memory;
}

static int map_totals(const char* path) {
  g_totals = map_file(path, sizeof(struct totals), kMagic);
  if (g_totals == NULL) return -1;
  memcpy(g_totals->magic, kMagic, sizeof kMagic);
  g_totals->version = 1;
  g_totals->phases = PHASES;
  /* A QEMU killed in the middle of a change leaves it odd. */
  atomic_store(&g_totals->sequence, (atomic_load(&g_totals->sequence) + 1) & ~(uint64_t)1);
  return 0;
}

static int map_log(const char* path) {
  g_log = map_file(path, sizeof(struct phase_log), kLogMagic);
  if (g_log == NULL) return -1;
  g_log->capacity = LOG_ENTRIES;
  memcpy(g_log->magic, kLogMagic, sizeof kLogMagic);
  return 0;
}

static bool parse_number(const char* text, const char* name, uint64_t* value) {
  const size_t length = strlen(name);
  if (strncmp(text, name, length) != 0 || text[length] != '=') return false;
  *value = strtoull(text + length + 1, NULL, 0);
  return true;
}

QEMU_PLUGIN_EXPORT int qemu_plugin_install(qemu_plugin_id_t id, const qemu_info_t* info, int argc, char** argv) {
  (void)info;
  const char* path = NULL;
  const char* log = NULL;
  for (int i = 0; i < argc; ++i) {
    if (strncmp(argv[i], "totals=", 7) == 0) {
      path = argv[i] + 7;
    } else if (strncmp(argv[i], "log=", 4) == 0) {
      log = argv[i] + 4;
    } else if (!parse_number(argv[i], "begin", &g_begin) && !parse_number(argv[i], "end", &g_end) &&
               !parse_number(argv[i], "word", &g_word) && !parse_number(argv[i], "entry", &g_entry)) {
      return fail("unknown argument", argv[i]);
    }
  }
  if (path == NULL || g_begin >= g_end) return fail("needs", "totals=FILE,begin=,end=,word=,entry=");
  if (map_totals(path) != 0 || (log != NULL && map_log(log) != 0)) return -1;
  g_executed.score = qemu_plugin_scoreboard_new(sizeof(uint64_t));
  g_executed.offset = 0;
  qemu_plugin_register_vcpu_tb_trans_cb(id, on_translation);
  return 0;
}
