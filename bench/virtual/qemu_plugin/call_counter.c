/*
 * Counts the instructions between marked addresses of a firmware image: what each kernel call of a training step costs.
 *
 * A mark is an instruction's address. What is executed from a mark on belongs to that mark, until the next one is
 * reached. Blocks without a mark add their length in line; the others count instruction by instruction.
 *
 * Arguments: totals=FILE (is made anew), marks=FILE (one hexadecimal address a line, in any order).
 */
#define _POSIX_C_SOURCE 200809L

#include "qemu_api.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define MOST_MARKS 4096

/* bench/meters/calls.py reads the same layout: then `marks` pairs of instructions and visits. */
struct totals {
  char magic[8];
  uint64_t marks;
};

struct count {
  uint64_t instructions;
  uint64_t visits;
};

static struct count* g_counts;
static uint64_t g_marks[MOST_MARKS];
static size_t g_mark_count;
static qemu_plugin_u64 g_executed;
static uint64_t g_counted;
static struct count* g_current;

QEMU_PLUGIN_EXPORT int qemu_plugin_version = QEMU_PLUGIN_VERSION;

static void on_mark(unsigned int vcpu, void* userdata) {
  const uint64_t executed = qemu_plugin_u64_get(g_executed, vcpu);
  if (g_current != NULL) g_current->instructions += executed - g_counted;
  g_counted = executed;
  g_current = userdata;
  g_current->visits += 1;
}

static struct count* count_of(uint64_t address) {
  for (size_t i = 0; i < g_mark_count; ++i) {
    if (g_marks[i] == address) return &g_counts[i];
  }
  return NULL;
}

static void on_translation(qemu_plugin_id_t id, struct qemu_plugin_tb* tb) {
  (void)id;
  const size_t count = qemu_plugin_tb_n_insns(tb);
  bool marked = false;
  for (size_t i = 0; i < count; ++i) {
    marked = marked || count_of(qemu_plugin_insn_vaddr(qemu_plugin_tb_get_insn(tb, i))) != NULL;
  }
  if (!marked) {
    qemu_plugin_register_vcpu_tb_exec_inline_per_vcpu(tb, QEMU_PLUGIN_INLINE_ADD_U64, g_executed, count);
    return;
  }
  for (size_t i = 0; i < count; ++i) {
    struct qemu_plugin_insn* insn = qemu_plugin_tb_get_insn(tb, i);
    struct count* mark = count_of(qemu_plugin_insn_vaddr(insn));
    if (mark != NULL) qemu_plugin_register_vcpu_insn_exec_cb(insn, on_mark, QEMU_PLUGIN_CB_NO_REGS, mark);
    qemu_plugin_register_vcpu_insn_exec_inline_per_vcpu(insn, QEMU_PLUGIN_INLINE_ADD_U64, g_executed, 1);
  }
}

static int fail(const char* what, const char* path) {
  fprintf(stderr, "call counter: %s %s\n", what, path);
  return -1;
}

static int read_marks(const char* path) {
  FILE* file = fopen(path, "r");
  if (file == NULL) return fail("cannot open", path);
  char line[64];
  while (g_mark_count < MOST_MARKS && fgets(line, sizeof line, file) != NULL) {
    g_marks[g_mark_count++] = strtoull(line, NULL, 16);
  }
  fclose(file);
  return g_mark_count == 0 ? fail("no marks in", path) : 0;
}

static int map_totals(const char* path) {
  const size_t size = sizeof(struct totals) + g_mark_count * sizeof(struct count);
  const int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (fd < 0 || ftruncate(fd, (off_t)size) != 0) return fail("cannot make", path);
  struct totals* memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  close(fd);
  if (memory == MAP_FAILED) return fail("cannot map", path);
  memcpy(memory->magic, "FTTECAL1", sizeof memory->magic);
  memory->marks = g_mark_count;
  g_counts = (struct count*)(memory + 1);
  return 0;
}

QEMU_PLUGIN_EXPORT int qemu_plugin_install(qemu_plugin_id_t id, const qemu_info_t* info, int argc, char** argv) {
  (void)info;
  const char *totals = NULL, *marks = NULL;
  for (int i = 0; i < argc; ++i) {
    if (strncmp(argv[i], "totals=", 7) == 0) {
      totals = argv[i] + 7;
    } else if (strncmp(argv[i], "marks=", 6) == 0) {
      marks = argv[i] + 6;
    } else {
      return fail("unknown argument", argv[i]);
    }
  }
  if (totals == NULL || marks == NULL) return fail("needs", "totals=FILE,marks=FILE");
  if (read_marks(marks) != 0 || map_totals(totals) != 0) return -1;
  g_executed.score = qemu_plugin_scoreboard_new(sizeof(uint64_t));
  g_executed.offset = 0;
  qemu_plugin_register_vcpu_tb_trans_cb(id, on_translation);
  return 0;
}
