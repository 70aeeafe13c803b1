"""Board manifests: memory layout, clocks, debug target and data-sheet currents of each kind of board.

One JSON file a PlatformIO environment, `firmware/platform/boards/<env>.json`; the bench reads its section `ftte`, and
PlatformIO the rest. Linker scripts are made from the same section, so host and image cannot disagree on the layout.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Literal

from pydantic import BeforeValidator, ConfigDict, Field, TypeAdapter, ValidationError

from bench.errors import ConfigError
from bench.project import sources

BOARDS_DIR = sources() / "firmware" / "platform" / "boards"

Family = Literal["stm32f4", "stm32f2", "stm32l4", "nrf51", "nrf52", "mps2", "host"]
Core = Literal["cortex-m4f", "cortex-m3", "cortex-m0", "cortex-m7", "cortex-m33", "host"]


def _address(value: object) -> object:
    """JSON has no hexadecimal: an address is a string such as "0x08000000"."""
    return int(value, 16) if isinstance(value, str) and value.startswith("0x") else value


Address = Annotated[int, BeforeValidator(_address), Field(ge=0, lt=1 << 32)]
Bytes = Annotated[int, Field(gt=0, lt=1 << 32, multiple_of=4)]

_STRICT = ConfigDict(extra="forbid", strict=True)


@dataclass(frozen=True)
class FlashLayout:
    """The two regions of flash: the image at its base, and behind it the data partition. Sizes in bytes."""

    __pydantic_config__ = _STRICT

    base: Address
    size: Bytes
    image_size: Bytes
    data_base: Address
    data_size: Bytes


@dataclass(frozen=True)
class Ram:
    """The RAM that the firmware uses; size in bytes."""

    __pydantic_config__ = _STRICT

    base: Address
    size: Bytes


@dataclass(frozen=True)
class EnergyData:
    """Data-sheet currents: what the *modelled* energy of a board is computed from.

    `instructions_per_cycle_model` is the mean number of core cycles an instruction takes (CPI), a model figure.
    `run_ma` is 0 where no energy is modelled.
    """

    __pydantic_config__ = _STRICT

    supply_v: Annotated[float, Field(ge=0)]
    run_ma: Annotated[float, Field(ge=0)]
    sleep_ma: Annotated[float, Field(ge=0)]
    instructions_per_cycle_model: Annotated[float, Field(gt=0)]
    source: Annotated[str, Field(min_length=1)]
    supply_range_v: Annotated[tuple[float, float] | None, Field(strict=False)] = None
    """What may feed the board: the part's limits; at least 2.7 V where its wait states and flash programming need that.
    None of a board that is emulated alone."""

    @property
    def cycles_per_instruction(self) -> float:
        """The CPI under its plain name."""
        return self.instructions_per_cycle_model


@dataclass(frozen=True)
class BoardManifest:
    """What the bench knows of one kind of board; `env` is its PlatformIO environment.

    `hse_hz` is the crystal's frequency, 0 where the clock comes from an internal oscillator; `pyocd_target` is empty
    for what pyOCD does not flash: `host`, and the FPGA images of MPS2+.
    """

    __pydantic_config__ = _STRICT

    env: str
    family: Family
    core: Core
    has_fpu: bool
    pyocd_target: str
    flash: FlashLayout
    ram: Ram
    stack_size: Bytes
    core_hz: Annotated[int, Field(gt=0)]
    hse_hz: Annotated[int, Field(ge=0)]
    baud: Annotated[int, Field(ge=1200, le=4_000_000)]
    link_chunk_bytes: Annotated[int, Field(ge=64, le=4096)]
    energy: EnergyData
    uart: str
    flash_timeout_s: Annotated[float, Field(gt=0)]


_ADAPTER = TypeAdapter(BoardManifest)


def _layout_faults(manifest: BoardManifest) -> list[str]:
    flash, faults = manifest.flash, []
    if flash.image_size > flash.size:
        faults.append("flash.image_size: larger than flash.size")
    if flash.data_base < flash.base + flash.image_size:
        faults.append("flash.data_base: the data partition overlaps the image")
    if flash.data_base + flash.data_size > flash.base + flash.size:
        faults.append("flash.data_size: the data partition ends behind the flash")
    if manifest.stack_size % 8 != 0 or manifest.stack_size >= manifest.ram.size:
        faults.append("stack_size: not a multiple of 8, or not smaller than ram.size")
    if len(manifest.env) >= 24:
        faults.append("file name: the image descriptor holds 23 characters of it")
    return faults


def parse_manifest(env: str, text: str, source: str) -> BoardManifest:
    """Reads section `ftte` of a board file's text; `source` names it in errors. Raises ConfigError."""
    try:
        document = json.loads(text)
    except json.JSONDecodeError as error:
        raise ConfigError(f"{source}:{error.lineno}: not JSON: {error.msg}") from error
    section = document.get("ftte") if isinstance(document, dict) else None
    if not isinstance(section, dict):
        raise ConfigError(f"{source}: section `ftte` is missing: add the board's layout, clocks and currents")
    try:
        manifest = _ADAPTER.validate_json(json.dumps({**section, "env": env}))
    except ValidationError as error:
        faults = [f"ftte.{'.'.join(str(part) for part in e['loc'])}: {e['msg']}" for e in error.errors()]
        raise ConfigError(f"{source}: " + "; ".join(faults)) from error
    if faults := _layout_faults(manifest):
        raise ConfigError(f"{source}: " + "; ".join(f"ftte.{fault}" for fault in faults))
    return manifest


@cache
def load_manifest(env: str) -> BoardManifest:
    """The manifest of one PlatformIO environment. Raises ConfigError for an unknown one or a malformed file."""
    path = BOARDS_DIR / f"{env}.json"
    names = environments()
    if env not in names:
        raise ConfigError(f"no board for environment {env!r} in {BOARDS_DIR}: choose one of {', '.join(names)}")
    return parse_manifest(env, path.read_text(encoding="utf-8"), str(path))


def environments() -> tuple[str, ...]:
    """The names of all environments that have a manifest, sorted."""
    return tuple(sorted(path.stem for path in BOARDS_DIR.glob("*.json")))


def all_manifests() -> dict[str, BoardManifest]:
    """All manifests by environment, sorted by name."""
    return {env: load_manifest(env) for env in environments()}
