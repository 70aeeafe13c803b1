"""Limits of the parts that the boards carry, as tables: `parts/*.toml`, each figure with the section that it is from.

They are written apart from the firmware, so that the two can disagree. docs/board-figures.md says which source confirms
each figure, and which none does.
"""

from __future__ import annotations

import tomllib
from functools import cache
from itertools import accumulate
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from bench.errors import ConfigError

FOLDER = Path(__file__).parent / "parts"
Range = tuple[int, int]
_ST_FLASH_KB = {"4": 16, "6": 32, "8": 64, "b": 128, "z": 192, "c": 256, "d": 384, "e": 512, "f": 768, "g": 1024,
                "h": 1536, "i": 2048}  # the letter of ST's order codes  # fmt: skip


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Timing(_Table):
    """How long flash takes at most; `erase_ms` by size of the sector in bytes."""

    erase_ms: dict[int, float]
    program_bytes: int
    program_us: float
    source: str


class Pll(_Table):
    """Limits of the PLL: its input, its oscillator, multiplier and dividers; bounds included."""

    input_hz: Range
    vco_hz: Range
    m: Range
    n: Range
    dividers: tuple[int, ...]


class Clock(_Table):
    """Limits of the clock tree. `wait_states_mhz[n]`: the fastest core that n wait states do for."""

    core_most_hz: int
    hse_hz: Range
    source: str
    fixed_hz: int = 0
    """The one frequency of a core that has no PLL."""
    internal_hz: int = 0
    """Of the oscillator that a board without a crystal starts from."""
    apb1_most_hz: int = 0
    apb2_most_hz: int = 0
    wait_states_mhz: tuple[int, ...] = ()
    wait_states_source: str = ""
    pll: Pll | None = None


class Line(_Table):
    """A UART: the bus that clocks it, and the alternate function of each pin that it may use."""

    bus: Literal["apb1", "apb2", ""] = ""
    transmit: dict[str, int] = Field(default_factory=dict)
    receive: dict[str, int] = Field(default_factory=dict)


class Uart(_Table):
    """The UARTs: `divisor`: the rate is the bus clock over an integer; `nordic`: a fraction of a fixed clock."""

    kind: Literal["divisor", "nordic"]
    source: str
    lines: dict[str, Line]
    clock_hz: int = 0
    pins: int = 0


class Part(_Table):
    """A microcontroller. `flash_sectors` are (number, bytes) from the base up."""

    mcu: str
    """The beginning of its order code, with all letters that say how much memory it has."""
    family: str
    svd: str
    flash_base: int
    flash_size: int
    flash_sectors: tuple[tuple[int, int], ...]
    flash_source: str
    ram_base: int
    ram_size: int
    ram_source: str
    timing: Timing
    clock: Clock
    uart: Uart

    def sectors(self) -> list[tuple[int, int]]:
        """(address, bytes) of every sector."""
        sizes = [size for count, size in self.flash_sectors for _ in range(count)]
        return list(zip(accumulate(sizes, initial=self.flash_base), sizes, strict=False))


@cache
def all_parts() -> tuple[Part, ...]:
    """Every part that there is a table of. Raises ConfigError for a malformed one."""
    return tuple(_read(path) for path in sorted(FOLDER.glob("*.toml")))


def find_part(mcu: str) -> Part | None:
    """The part whose name an order code such as `stm32f405rgt6` begins with."""
    return next((part for part in all_parts() if mcu.lower().startswith(part.mcu)), None)


def _read(path: Path) -> Part:
    try:
        part = Part.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except (tomllib.TOMLDecodeError, ValidationError) as error:
        raise ConfigError(f"{path}: {error}") from error
    if sum(count * size for count, size in part.flash_sectors) != part.flash_size:
        raise ConfigError(f"{path}: flash_sectors: they do not add up to flash_size")
    if part.mcu.startswith("stm32") and part.flash_size != _ST_FLASH_KB.get(part.mcu[10:11], 0) << 10:
        raise ConfigError(
            f"{path}: flash_size: {part.flash_size} bytes, which is not what the order code {part.mcu} says"
        )
    return part
