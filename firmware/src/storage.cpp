#include "src/storage.hpp"

#include "program.hpp"

#if defined(FTTE_HOST)
#define FTTE_SECTION(name)
#else
#define FTTE_SECTION(name) __attribute__((section(name)))
#endif

namespace storage {
namespace {

constexpr uint32_t at_least_one(uint32_t size) { return size == 0 ? 1 : size; }

}  // namespace

alignas(8) uint8_t params[ftte::program::kParamsBytes];
alignas(8) FTTE_SECTION(".arena") uint8_t arena[ftte::program::kArenaBytes];
alignas(8) FTTE_SECTION(".federation.base") uint8_t base[at_least_one(ftte::program::kBaseBytes)];
alignas(8) FTTE_SECTION(".federation.errors") uint8_t errors[at_least_one(ftte::program::kErrorBytes)];

}  // namespace storage
