/*
 * Watches what a firmware image really touches of its RAM: the lowest store in the stack and the lowest stack pointer,
 * one above the highest byte stored to of each region, and stores to RAM outside of all regions, for each phase.
 *
 * A store that the core makes by itself, as it enters an exception, is seen through the stack pointer, which is read at
 * the start of each block.
 *
 * Arguments: record=FILE (is made anew), ram=LOW:HIGH, stack=, static=, federation=, arena= (each LOW:HIGH, half-open),
 * word= (where the phase is stored).
 */
#define _POSIX_C_SOURCE 200809L

#include "qemu_api.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define PHASES 16
#define REGIONS 4 /* stack, static, federation, arena */

struct range {
  uint64_t low, high;
};

/* bench/meters/witness.py reads the same layout. */
struct __attribute__((packed)) phase {
  uint32_t lowest_pointer;
  uint32_t lowest_store;
  uint64_t outside;
  uint32_t highest[REGIONS];
};

struct __attribute__((packed)) record {
  char magic[8];
  struct phase phases[PHASES];
};

static struct record* g_record;
static struct range g_ram, g_regions[REGIONS];
static uint64_t g_word;
static uint32_t g_phase;
static struct qemu_plugin_register* g_pointer;
static GByteArray* g_bytes;

QEMU_PLUGIN_EXPORT int qemu_plugin_version = QEMU_PLUGIN_VERSION;

static bool holds(const struct range* range, uint64_t address) { return range->low <= address && address < range->high; }

static void on_store(unsigned int vcpu, qemu_plugin_meminfo_t info, uint64_t vaddr, void* userdata) {
  (void)vcpu;
  (void)userdata;
  const qemu_plugin_mem_value value = qemu_plugin_mem_get_value(info);
  if (vaddr == g_word && value.type == QEMU_PLUGIN_MEM_VALUE_U32) {
    g_phase = value.data.u32 < PHASES ? value.data.u32 : PHASES - 1;
  }
  if (!holds(&g_ram, vaddr)) return;
  struct phase* phase = &g_record->phases[g_phase];
  const uint32_t size = 1U << value.type;
  for (int region = 0; region < REGIONS; ++region) {
    if (!holds(&g_regions[region], vaddr)) continue;
    const uint32_t end = (uint32_t)vaddr + size;
    if (end > phase->highest[region]) phase->highest[region] = end;
    if (region == 0 && (phase->lowest_store == 0 || vaddr < phase->lowest_store)) phase->lowest_store = (uint32_t)vaddr;
    if (end <= g_regions[region].high) return;
  }
  phase->outside += 1;
}

static void on_block(unsigned int vcpu, void* userdata) {
  (void)vcpu;
  (void)userdata;
  if (g_pointer == NULL) return;
  g_byte_array_set_size(g_bytes, 0);
  uint32_t pointer = 0;
  if (qemu_plugin_read_register(g_pointer, g_bytes) < (int)sizeof pointer) return;
  memcpy(&pointer, g_bytes->data, sizeof pointer);
  if (!holds(&g_regions[0], pointer)) return;
  struct phase* phase = &g_record->phases[g_phase];
  if (phase->lowest_pointer == 0 || pointer < phase->lowest_pointer) phase->lowest_pointer = pointer;
}

static void on_vcpu(qemu_plugin_id_t id, unsigned int vcpu) {
  (void)id;
  (void)vcpu;
  GArray* registers = qemu_plugin_get_registers();
  const qemu_plugin_reg_descriptor* all = (const qemu_plugin_reg_descriptor*)(void*)registers->data;
  for (unsigned int i = 0; i < registers->len; ++i) {
    if (strcmp(all[i].name, "sp") == 0) g_pointer = all[i].handle;
  }
  g_bytes = g_byte_array_new();
}

static void on_translation(qemu_plugin_id_t id, struct qemu_plugin_tb* tb) {
  (void)id;
  const size_t count = qemu_plugin_tb_n_insns(tb);
  qemu_plugin_register_vcpu_tb_exec_cb(tb, on_block, QEMU_PLUGIN_CB_R_REGS, NULL);
  for (size_t i = 0; i < count; ++i) {
    qemu_plugin_register_vcpu_mem_cb(qemu_plugin_tb_get_insn(tb, i), on_store, QEMU_PLUGIN_CB_NO_REGS, QEMU_PLUGIN_MEM_W,
                                     NULL);
  }
}

static int fail(const char* what, const char* path) {
  fprintf(stderr, "RAM witness: %s %s\n", what, path);
  return -1;
}

static bool parse_range(const char* text, const char* name, struct range* range) {
  const size_t length = strlen(name);
  char* colon = NULL;
  if (strncmp(text, name, length) != 0 || text[length] != '=') return false;
  range->low = strtoull(text + length + 1, &colon, 0);
  if (*colon == ':') range->high = strtoull(colon + 1, NULL, 0);
  return true;
}

static int map_record(const char* path) {
  const int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (fd < 0 || ftruncate(fd, sizeof(struct record)) != 0) return fail("cannot make", path);
  g_record = mmap(NULL, sizeof(struct record), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  close(fd);
  if (g_record == MAP_FAILED) return fail("cannot map", path);
  memcpy(g_record->magic, "FTTEWIT1", sizeof g_record->magic);
  return 0;
}

QEMU_PLUGIN_EXPORT int qemu_plugin_install(qemu_plugin_id_t id, const qemu_info_t* info, int argc, char** argv) {
  (void)info;
  static const char* const kRegions[REGIONS] = {"stack", "static", "federation", "arena"};
  const char* path = NULL;
  for (int i = 0; i < argc; ++i) {
    struct range word = {0, 0};
    bool known = parse_range(argv[i], "ram", &g_ram);
    for (int region = 0; region < REGIONS; ++region) {
      known = known || parse_range(argv[i], kRegions[region], &g_regions[region]);
    }
    if (parse_range(argv[i], "word", &word)) {
      g_word = word.low;
      known = true;
    }
    if (strncmp(argv[i], "record=", 7) == 0) {
      path = argv[i] + 7;
    } else if (!known) {
      return fail("unknown argument", argv[i]);
    }
  }
  if (path == NULL || g_ram.high == 0) return fail("needs", "record=FILE,ram=,stack=,static=,federation=,arena=,word=");
  if (map_record(path) != 0) return -1;
  qemu_plugin_register_vcpu_init_cb(id, on_vcpu);
  qemu_plugin_register_vcpu_tb_trans_cb(id, on_translation);
  return 0;
}
