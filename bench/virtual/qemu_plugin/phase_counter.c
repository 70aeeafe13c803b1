/*
 * Counts the instructions that a firmware image executes, by phase.
 *
 * The firmware stores the number of its phase to one word, in one function. Each translated block adds its length to a
 * counter in line, without a call. Only blocks that touch that function, or the image's entry point, count instruction
 * by instruction, so that the counter is exact at the store; the store and what comes before it belong to the old
 * phase. The entry point begins phase 0, boot.
 *
 * Where the counts go: phase_record.h.
 *
 * Arguments: totals=FILE, begin=, end= (the function's code), word= (the phase), entry= (the reset handler), log=FILE.
 */
#define _POSIX_C_SOURCE 200809L

#include "qemu_api.h"

#include "phase_record.h"

#include <stdlib.h>

static struct phase_record g_phases;
static uint64_t g_begin, g_end, g_word, g_entry;
static qemu_plugin_u64 g_executed;

QEMU_PLUGIN_EXPORT int qemu_plugin_version = QEMU_PLUGIN_VERSION;

static void begin_phase(unsigned int vcpu, uint32_t phase, bool boot) {
  change_phase(&g_phases, qemu_plugin_u64_get(g_executed, vcpu), phase, boot);
}

static void on_entry(unsigned int vcpu, void* userdata) {
  (void)userdata;
  begin_phase(vcpu, 0, true);
}

static void on_store(unsigned int vcpu, qemu_plugin_meminfo_t info, uint64_t vaddr, void* userdata) {
  (void)userdata;
  if (vaddr != g_word) return;
  const qemu_plugin_mem_value value = qemu_plugin_mem_get_value(info);
  if (value.type == QEMU_PLUGIN_MEM_VALUE_U32) begin_phase(vcpu, value.data.u32, false);
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
  if (!map_phases(&g_phases, path, log)) return -1;
  g_executed.score = qemu_plugin_scoreboard_new(sizeof(uint64_t));
  g_executed.offset = 0;
  qemu_plugin_register_vcpu_tb_trans_cb(id, on_translation);
  return 0;
}
