"""The doctor's tables against what others say of the same parts: ST's own constants, and the targets that pyOCD ships.

ST's are copied from CMSIS device headers and low-level drivers, which no code here reads (docs/board-figures.md).
"""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from pyocd.target import TARGET

from bench.errors import ConfigError
from bench.rack.doctor import parts
from bench.rack.doctor.parts import Part, find_part
from bench.rack.manifest import BOARDS_DIR, all_manifests, load_manifest


class Constants(NamedTuple):
    """RCC_MAX_FREQUENCY; UTILS_HSE_FREQUENCY_*; RCC_PLLVCO_INPUT_* and OUTPUT_*; PLLN; FLASH_SCALE1_LATENCYn_FREQ, in
    MHz: above it n wait states are needed."""

    most_mhz: int
    hse_mhz: tuple[int, int]
    vco_input_khz: tuple[int, int]
    vco_mhz: tuple[int, int]
    n: tuple[int, int]
    latency_mhz: tuple[int, ...]


ST = {
    "stm32f205rf": Constants(120, (4, 26), (950, 2100), (192, 432), (192, 432), (30, 60, 90)),
    "stm32f405rg": Constants(168, (4, 26), (950, 2100), (100, 432), (50, 432), (30, 60, 90, 120, 150)),
    "stm32f412zg": Constants(100, (4, 26), (950, 2100), (100, 432), (50, 432), (30, 64, 90)),
    "stm32f429zi": Constants(180, (4, 26), (950, 2100), (100, 432), (50, 432), (30, 60, 90, 120, 150)),
    "stm32l475vg": Constants(80, (4, 48), (4000, 16000), (64, 344), (8, 86), (16, 32, 48, 64)),
}
SAME_PART = {
    "stm32f412zg": "stm32f412xg",
    "stm32f429zi": "stm32f429xi",
    "stm32l475vg": "stm32l475xg",
    "nrf51822": "nrf51822",
    "nrf52840": "nrf52840",
}
FLASH_CR, SER, PG = 0x40023C10, 1 << 1, 1 << 0


def table(mcu: str) -> Part:
    part = find_part(mcu)
    assert part is not None
    return part


@pytest.mark.parametrize("mcu", ST)
def test_clocks_are_those_of_st_s_headers(mcu: str) -> None:
    clock, said = table(mcu).clock, ST[mcu]
    assert clock.pll is not None
    assert clock.core_most_hz == said.most_mhz * 1_000_000
    assert clock.hse_hz == tuple(mhz * 1_000_000 for mhz in said.hse_mhz)
    assert clock.pll.input_hz == tuple(khz * 1000 for khz in said.vco_input_khz)
    assert clock.pll.vco_hz == tuple(mhz * 1_000_000 for mhz in said.vco_mhz)
    assert clock.pll.n == said.n
    assert clock.wait_states_mhz == (*said.latency_mhz, said.most_mhz)


@pytest.mark.parametrize("mcu", SAME_PART)
def test_memories_are_those_of_pyocd_s_target(mcu: str) -> None:
    """pyOCD divides the flash of the nRF51822 and an STM32's RAM as its makers' packs do: the ends are compared."""
    part, regions = table(mcu), list(TARGET[SAME_PART[mcu]].MEMORY_MAP.regions)
    flash = [region for region in regions if region.is_flash and region.start < 0x10000000]
    assert min(region.start for region in flash) == part.flash_base
    assert max(region.end for region in flash) + 1 == part.flash_base + part.flash_size
    for address, size in part.sectors():
        assert next(region.blocksize for region in flash if region.start <= address <= region.end) == size
    ram = [region for region in regions if region.is_ram and region.start == part.ram_base]
    assert max(region.length for region in ram) == part.ram_size


def test_a_table_with_another_flash_than_its_order_code_is_refused(tmp_path: Path) -> None:
    text = (parts.FOLDER / "stm32f405.toml").read_text().replace('mcu = "stm32f405rg"', 'mcu = "stm32f405re"')
    path = tmp_path / "stm32f405.toml"
    path.write_text(text)
    with pytest.raises(
        ConfigError, match="flash_size: 1048576 bytes, which is not what the order code stm32f405re says"
    ):
        parts._read(path)


def test_a_smaller_part_of_a_line_is_not_taken_for_the_larger() -> None:
    assert find_part("stm32f205rgt6") is None
    assert table("stm32f205rft6").flash_size == 768 << 10


@pytest.mark.parametrize("mcu", ST)
def test_a_uart_is_on_the_bus_whose_register_enables_it(mcu: str) -> None:
    from pyocd.debug.svd.loader import SVDFile

    file = SVDFile.from_builtin(table(mcu).svd)
    file.load()
    rcc = next(peripheral for peripheral in file.device.peripherals if peripheral.name == "RCC")
    enabled_by = {
        field.name: register.name
        for register in rcc.registers
        for field in register.fields
        if register.name.startswith(("APB1ENR", "APB2ENR"))
    }
    for name, line in table(mcu).uart.lines.items():
        assert enabled_by[f"{name}EN"].lower().startswith(line.bus)


def control_words(target: str, call: str, *arguments: int) -> list[int]:
    """What a flash algorithm of pyOCD writes to FLASH_CR, executed on a core without a flash controller behind it."""
    unicorn = pytest.importorskip("unicorn")
    from unicorn import arm_const as arm

    algorithm: dict[str, Any] = next(r.algo for r in TARGET[target].MEMORY_MAP.regions if r.is_flash and r.algo)
    core = unicorn.Uc(unicorn.UC_ARCH_ARM, unicorn.UC_MODE_THUMB | unicorn.UC_MODE_MCLASS)
    for base, size in ((0x20000000, 0x40000), (0x08000000, 0x200000), (0x40000000, 0x100000)):
        core.mem_map(base, size)
    words = algorithm["instructions"]
    core.mem_write(algorithm["load_address"], struct.pack(f"<{len(words)}I", *words))
    written: list[int] = []

    def store(_core: Any, _access: int, address: int, _size: int, value: int, _data: Any) -> None:
        if address == FLASH_CR:
            written.append(value)

    core.hook_add(unicorn.UC_HOOK_MEM_WRITE, store)
    for register, value in zip((arm.UC_ARM_REG_R0, arm.UC_ARM_REG_R1, arm.UC_ARM_REG_R2), arguments, strict=False):
        core.reg_write(register, value)
    core.reg_write(arm.UC_ARM_REG_R9, algorithm["static_base"])
    core.reg_write(arm.UC_ARM_REG_SP, algorithm["begin_stack"])
    core.reg_write(arm.UC_ARM_REG_LR, algorithm["load_address"] | 1)
    core.emu_start(algorithm[call] | 1, algorithm["load_address"], count=10_000)
    return written


@pytest.mark.parametrize("env", [env for env, m in all_manifests().items() if m.family in ("stm32f2", "stm32f4")])
def test_times_are_those_of_the_parallelism_that_pyocd_erases_and_programs_with(env: str) -> None:
    """FLASH_CR.PSIZE: 0 is x8 and erases slowest, 4 s a sector of 128 KB; 2 is x32, a word at a time."""
    target = load_manifest(env).pyocd_target
    erasing = [word for word in control_words(target, "pc_erase_sector", 0x08020000) if word & SER]
    programming = [word for word in control_words(target, "pc_program_page", 0x08020000, 16, 0x20003000) if word & PG]
    assert {word >> 8 & 3 for word in erasing} == {0}
    assert {word >> 8 & 3 for word in programming} == {2}
    board = json.loads((BOARDS_DIR / f"{env}.json").read_text(encoding="utf-8"))
    part = find_part(board["build"]["mcu"])
    assert part is not None
    assert part.timing.erase_ms == {16384: 800, 65536: 2400, 131072: 4000}
    assert part.timing.program_bytes == 1 << 2
