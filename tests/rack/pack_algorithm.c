/* A CMSIS flash algorithm of the nRF51's controller, as a vendor's pack carries it (CMSIS-Pack, Flash Programming
 * Algorithms): position-independent code in PrgCode, the device's description in DevDscr. */
typedef unsigned long u32;

#define REG(offset) (*(volatile u32*)(0x4001E000UL + (offset)))
#define READY REG(0x400)
#define CONFIG REG(0x504)
#define ERASEPAGE REG(0x508)

static void wait_until_ready(void) {
  while (READY == 0) {
  }
}

int Init(u32 address, u32 clock, u32 function) {
  (void)address, (void)clock, (void)function;
  return 0;
}

int UnInit(u32 function) {
  (void)function;
  CONFIG = 0;
  return 0;
}

int EraseSector(u32 address) {
  CONFIG = 2;
  ERASEPAGE = address;
  wait_until_ready();
  CONFIG = 0;
  return 0;
}

int ProgramPage(u32 address, u32 size, const u32* words) {
  CONFIG = 1;
  for (u32 i = 0; i < size / 4; ++i) {
    ((volatile u32*)address)[i] = words[i];
    wait_until_ready();
  }
  CONFIG = 0;
  return 0;
}

struct FlashDevice {
  unsigned short version;
  char name[128];
  unsigned short type;
  u32 start, size, page, reserved;
  unsigned char erased;
  u32 program_ms, erase_ms;
  struct {
    u32 size, address;
  } sectors[2];
};

__attribute__((section("DevDscr"), used)) const struct FlashDevice FlashDevice = {
    0x0101, "nRF51 of the tests", 1, 0, 0x40000, 1024, 0, 0xFF, 1000, 3000, {{1024, 0}, {0xFFFFFFFF, 0xFFFFFFFF}}};
