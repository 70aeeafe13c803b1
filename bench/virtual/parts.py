"""The emulated parts: memories, identification and which flash controller, each from the vendor's manual."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True)
class Region:
    """A range of addresses; bytes."""

    base: int
    size: int

    @property
    def end(self) -> int:
        """The first address behind it."""
        return self.base + self.size

    def holds(self, address: int, size: int = 1) -> bool:
        """Whether all of [address, address + size) lies inside."""
        return self.base <= address and address + size <= self.end


@dataclass(frozen=True)
class CoreType:
    """What tells a Cortex-M core from another at the debug port."""

    name: str
    cpuid: int  # Arm's CPUID register at 0xE000ED00
    dpidr: int
    ap_idr: int
    scs_part: int  # part number in the peripheral id of the System Control Space, and so on
    dwt_part: int
    fpb_part: int
    breakpoints: int
    watchpoints: int
    identification: dict[int, int]  # further read-only registers of the System Control Space
    v7: bool


# MVFR0, ISAR3, MPU_TYPE: what debuggers ask for; the cores' technical reference manuals, section "system control".
CORTEX_M4F = CoreType(
    "cortex-m4", 0x410FC241, 0x2BA01477, 0x24770011, 0x00C, 0x002, 0x003, 6, 4,
    {0xE000ED6C: 0x01111131, 0xE000ED90: 0x00000800, 0xE000EF40: 0x10110021, 0xE000EF44: 0x11000011}, True,
)  # fmt: skip
CORTEX_M3 = CoreType(
    "cortex-m3", 0x412FC230, 0x2BA01477, 0x24770011, 0x000, 0x002, 0x003, 6, 4,
    {0xE000ED6C: 0x01111110, 0xE000ED90: 0x00000800}, True,
)  # fmt: skip
CORTEX_M0 = CoreType("cortex-m0", 0x410CC200, 0x0BB11477, 0x04770021, 0x008, 0x00A, 0x00B, 4, 2, {}, False)


@dataclass(frozen=True)
class Part:
    """A microcontroller as the debugger and its flash algorithms see it."""

    name: str
    core: CoreType
    controller: Literal["nvmc", "nvmc52", "stm32l4", "stm32f4"]
    flash: Region
    ram: tuple[Region, ...]
    flash_aliases: tuple[int, ...] = ()  # where the flash appears again: the boot memory at 0
    user: Region | None = None  # a second non-volatile area (nRF51's UICR)
    factory: dict[int, bytes] = field(default_factory=dict)  # read-only memory, by address; what lies around is 0xFF
    registers: dict[int, int] = field(default_factory=dict)  # read-only words among the peripherals
    emulator: Literal["qemu", "unicorn"] = "qemu"  # what the image runs on
    line_baud: int = 0  # to which the console's input has to be slowed down, if it has to be


def _words(size: int, values: dict[int, int]) -> bytes:
    block = bytearray(b"\xff" * size)
    for offset, value in values.items():
        struct.pack_into("<I", block, offset, value)
    return bytes(block)


_UID = (0x00330029, 0x33365116, 0x30303631)  # a unique id as ST lays it out: wafer coordinates, lot number in ASCII


def _stm32f2f4(name: str, core: CoreType, idcode: int, flash_kb: int, ram: tuple[Region, ...]) -> Part:
    # RM0090 and RM0033: unique id at 0x1FFF7A10, flash size in KB at 0x1FFF7A22, DBGMCU_IDCODE at 0xE0042000.
    electronic = _words(0x400, {0x210: _UID[0], 0x214: _UID[1], 0x218: _UID[2], 0x220: flash_kb << 16 | 0xFFFF})
    flash = Region(0x08000000, flash_kb << 10)
    return Part(name, core, "stm32f4", flash, ram, (0,), None, {0x1FFF7800: electronic}, {0xE0042000: idcode})


STM32F405 = _stm32f2f4(
    "STM32F405RG", CORTEX_M4F, 0x10076413, 1024, (Region(0x20000000, 128 << 10), Region(0x10000000, 64 << 10))
)
STM32F205 = _stm32f2f4("STM32F205RF", CORTEX_M3, 0x20006411, 768, (Region(0x20000000, 128 << 10),))

# RM0351 section 49: unique id at 0x1FFF7590, flash size in KB at 0x1FFF75E0.
STM32L475 = Part(
    "STM32L475VG",
    CORTEX_M4F,
    "stm32l4",
    Region(0x08000000, 1 << 20),
    (Region(0x20000000, 96 << 10), Region(0x10000000, 32 << 10)),
    (0,),
    None,
    {0x1FFF7400: _words(0x400, {0x190: _UID[0], 0x194: _UID[1], 0x198: _UID[2], 0x1E0: 0xFFFF0000 | 1024})},
    {0xE0042000: 0x10076415},
)

# nRF51 reference manual, chapter FICR: CODEPAGESIZE, CODESIZE, CLENR0, NUMRAMBLOCK, SIZERAMBLOCKS, CONFIGID,
# DEVICEID[0..1].
_FICR = {0x10: 1024, 0x14: 256, 0x34: 2, 0x38: 8192, 0x5C: 0xFFFF001D, 0x60: 0x6E524635, 0x64: 0x13579BDF}
NRF51822 = Part(
    "nRF51822 xxAA",
    CORTEX_M0,
    "nvmc",
    Region(0, 256 << 10),
    (Region(0x20000000, 16 << 10),),
    (),
    Region(0x10001000, 0x100),
    {0x10000000: _words(0x100, _FICR)},
    line_baud=115200,
)


# nRF52840 Product Specification, chapters FICR (CODEPAGESIZE, CODESIZE, DEVICEID, and INFO: PART, VARIANT "AAD0",
# PACKAGE QIAA, RAM and FLASH in KB) and Memory: a build code before F0, whose debug port UICR alone protects.
_FICR52 = {
    0x10: 4096, 0x14: 256, 0x60: 0x2F8A61C4, 0x64: 0x9D3E05B7,
    0x100: 0x52840, 0x104: 0x41414430, 0x108: 0x2004, 0x10C: 256, 0x110: 1024,
}  # fmt: skip
NRF52840 = Part(
    "nRF52840 QIAA",
    CORTEX_M4F,
    "nvmc52",
    Region(0, 1 << 20),
    (Region(0x20000000, 256 << 10),),
    (),
    Region(0x10001000, 0x1000),
    {0x10000000: _words(0x400, _FICR52)},
    emulator="unicorn",
)


Pin = tuple[int, int]
"""A port and a number in it."""


@dataclass(frozen=True)
class Machine:
    """A QEMU machine, or what takes its place: the part on it and which of its serial lines the HAL uses as console.

    `marker`: the pin that a meter's D0 is wired to, where the emulator models pins. Without one, D0 follows the phase.
    """

    name: str
    part: Part
    serial_index: int
    marker: Pin | None = None


# QEMU numbers the STM32 lines USART1, 2, 3, UART4, 5, USART6. The Netduinos' header has USART6, the Olimex's USART2.
MACHINES = {
    machine.name: machine
    for machine in (
        Machine("netduinoplus2", STM32F405, 5),
        Machine("olimex-stm32-h405", STM32F405, 1),
        Machine("netduino2", STM32F205, 5),
        Machine("b-l475e-iot01a", STM32L475, 0),
        Machine("microbit", NRF51822, 0),
        # Header D2 of both: P1.03 of the DK (its user guide's table of header pins), P1.11 of the Nano (its pinout).
        Machine("nrf52840-dk", NRF52840, 0, (1, 3)),
        Machine("nano33ble", NRF52840, 0, (1, 11)),
    )
}
