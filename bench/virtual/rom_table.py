"""The ROM table and the identification registers of the debug components (CoreSight architecture, part B)."""

from __future__ import annotations

from bench.virtual.parts import CoreType

TABLE = 0xE00FF000
SCS, DWT, FPB = 0xE000E000, 0xE0001000, 0xE0002000
ROM_CLASS, GENERIC_CLASS = 0x1, 0xE
_ARM = 0x43B  # JEP106: continuation code 4, identity 0x3B
_TABLE_PARTS = {"cortex-m0": 0x471, "cortex-m3": 0x4C3, "cortex-m4": 0x4C4}


def _identification(base: int, component_class: int, part: int) -> dict[int, int]:
    peripheral = (
        part & 0xFF,
        (_ARM & 0xF) << 4 | part >> 8,
        0x8 | _ARM >> 4 & 0x7,
        0,
    )
    component = (0x0D, component_class << 4, 0x05, 0xB1)
    registers = {base + 0xFE0 + 4 * index: value for index, value in enumerate(peripheral)}
    registers[base + 0xFD0] = _ARM >> 8
    registers.update({base + 0xFD4 + 4 * index: 0 for index in range(3)})
    registers.update({base + 0xFF0 + 4 * index: value for index, value in enumerate(component)})
    return registers


def rom_table(core: CoreType) -> dict[int, int]:
    """Every read-only register of the table and of the components that it names, by address."""
    registers = _identification(TABLE, ROM_CLASS, _TABLE_PARTS[core.name])
    components = {SCS: core.scs_part, DWT: core.dwt_part, FPB: core.fpb_part}
    for index, (base, part) in enumerate(components.items()):
        registers[TABLE + 4 * index] = (base - TABLE & 0xFFFFF000) | 0x3  # 32-bit format, present
        registers.update(_identification(base, GENERIC_CLASS, part))
    registers[TABLE + 4 * len(components)] = 0
    registers[TABLE + 0xFCC] = 1  # MEMTYPE: system memory is on this bus
    return registers
