#include "src/storage.hpp"

#include "program.hpp"

#if defined(FTTE_HOST)
#define FTTE_ARENA_SECTION
#else
#define FTTE_ARENA_SECTION __attribute__((section(".arena")))
#endif

namespace storage {

alignas(8) uint8_t params[ftte::program::kParamsBytes];
alignas(8) FTTE_ARENA_SECTION uint8_t arena[ftte::program::kArenaBytes];

}  // namespace storage
