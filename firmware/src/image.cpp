#include "src/image.hpp"

#include "program.hpp"
#include "src/phase.hpp"

#if defined(FTTE_HOST)

// A host process has no flash, no linker script and no builder that patches it: it only says what it was built from.
#define FTTE_DESCRIPTOR_ATTRIBUTES __attribute__((used))
#define FTTE_SYMBOL(name) 0U

#else

// Addresses and sizes that only the linker knows; a symbol's address is its value.
extern "C" {
extern const uint8_t __flash_base[], __flash_size[], __data_partition_start[], __data_partition_size[];
extern const uint8_t __ram_base[], __ram_size[], __static_size[], __arena_start[], __arena_size[];
extern const uint8_t __federation_start[], __federation_size[], __stack_limit[], __stack_top[];
extern const uint8_t __phase_start[], __phase_end[];
}

#define FTTE_DESCRIPTOR_ATTRIBUTES __attribute__((section(".descriptor"), used))
#define FTTE_SYMBOL(name) reinterpret_cast<uint32_t>(name)

#endif

namespace image {

FTTE_DESCRIPTOR_ATTRIBUTES extern const Descriptor kDescriptor = {
    {'F', 'T', 'T', 'E', 'I', 'M', 'G', '1'},
    sizeof(Descriptor),
    0,  // image_size, image_crc32 and build_id: see image.hpp
    0,
    {},
    FTTE_ENV,
    FTTE_PLAN_ID,
    FTTE_SYMBOL(__flash_base),
    FTTE_SYMBOL(__flash_size),
    FTTE_SYMBOL(__data_partition_start),
    FTTE_SYMBOL(__data_partition_size),
    FTTE_SYMBOL(__ram_base),
    FTTE_SYMBOL(__ram_size),
    FTTE_SYMBOL(__static_size),
    FTTE_SYMBOL(__arena_start),
    FTTE_SYMBOL(__arena_size),
    FTTE_SYMBOL(__federation_start),
    FTTE_SYMBOL(__federation_size),
    FTTE_SYMBOL(__stack_limit),
    FTTE_SYMBOL(__stack_top),
    FTTE_SYMBOL(__phase_start),
    FTTE_SYMBOL(__phase_end),
#if defined(FTTE_HOST)
    0U,
#else
    reinterpret_cast<uint32_t>(&ftte_phase_word),
#endif
};

}  // namespace image
