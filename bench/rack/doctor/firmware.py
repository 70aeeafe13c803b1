"""What the firmware's sources say of a board: its row in the HAL's tables, its clocks, the registers that it knows.

The HAL keeps these in tables of constants, one row a board, so that they can be read without compiling it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from bench.errors import ConfigError
from bench.rack.manifest import BOARDS_DIR, BoardManifest

FIRMWARE = BOARDS_DIR.parents[1]

_STM32_ROW = re.compile(
    r'\{"(?P<env>\w+)", kUsart(?P<usart>\d+), (?P<apb2>true|false), (?P<function>\d+), '
    r"\{kPort(?P<tx_port>[A-K]), (?P<tx>\d+)\}, \{kPort(?P<rx_port>[A-K]), (?P<rx>\d+)\}, "
    r"\{kPort(?P<marker_port>[A-K]), (?P<marker>\d+)\}\}"
)
_NRF52_ROW = re.compile(
    r'\{"(?P<env>\w+)", \{(?P<tx_port>\d), (?P<tx>\d+)\}, \{(?P<rx_port>\d), (?P<rx>\d+)\}, '
    r"\{(?P<marker_port>\d), (?P<marker>\d+)\}\}"
)
_CLOCK_ROW = re.compile(
    r'\{"(?P<env>\w+)", (?:true|false), \d+, \d+, (?P<wait>\d+), \d+, \d+, (?P<apb1>\d+), kApbDiv\d, \d+, '
    r"(?P<apb2>\d+), kApbDiv\d, \d+\}"
)
_F2_SWITCH = re.compile(r"switch_to_pll\(kApbDiv(?P<apb1>\d), kApbDiv(?P<apb2>\d)\)")
_NRF51_PIN = r"constexpr uint32_t k{}Pin = (\d+);"
_WAIT_STATES = re.compile(r"constexpr uint32_t kWaitStates = (\d+);")
_BAUD_SETTING = re.compile(r"case (\d+):\s+return (0x[0-9A-Fa-f]+);")
_REGISTER = re.compile(r"inline constexpr Register (\w+)\{(0x[0-9A-Fa-f]+)\};")


@dataclass(frozen=True)
class Console:
    """The console's UART and pins. `function` is the pins' alternate function, None where pins are free."""

    line: str
    transmit: str
    receive: str
    marker: str
    function: int | None


@dataclass(frozen=True)
class Buses:
    """What the clock code sets: wait states, and what the core's clock is divided by for each bus."""

    wait_states: int
    apb1_divisor: int
    apb2_divisor: int


def console(manifest: BoardManifest) -> Console:
    """The board's row in the HAL. Raises ConfigError when there is none."""
    text = _source(manifest.family, "hal.cpp")
    if manifest.family == "nrf51":  # one board, so no table
        transmit, receive, marker = (_one(_NRF51_PIN.format(name), text) for name in ("Transmit", "Receive", "Marker"))
        return Console("UART0", f"P0.{int(transmit):02}", f"P0.{int(receive):02}", f"P0.{int(marker):02}", None)
    pattern = _NRF52_ROW if manifest.family == "nrf52" else _STM32_ROW
    row = next((match for match in pattern.finditer(text) if match["env"] == manifest.env), None)
    if row is None:
        raise ConfigError(f"{_path(manifest.family, 'hal.cpp')}: kBoards has no row for {manifest.env}: add one")
    if manifest.family == "nrf52":
        transmit, receive, marker = (f"P{row[f'{name}_port']}.{int(row[name]):02}" for name in ("tx", "rx", "marker"))
        return Console("UARTE0", transmit, receive, marker, None)
    transmit, receive, marker = (f"P{row[f'{name}_port']}{row[name]}" for name in ("tx", "rx", "marker"))
    return Console(f"USART{row['usart']}", transmit, receive, marker, int(row["function"]))


def uart_bus(manifest: BoardManifest) -> str:
    """Of an STM32's console: the bus whose clock the HAL computes the divisor from."""
    rows = _STM32_ROW.finditer(_source(manifest.family, "hal.cpp"))
    return next("apb2" if row["apb2"] == "true" else "apb1" for row in rows if row["env"] == manifest.env)


def buses(manifest: BoardManifest) -> Buses | None:
    """What the clock code sets; None for a part that has neither wait states nor bus dividers to set."""
    if manifest.family == "stm32f4":
        rows = _CLOCK_ROW.finditer(_source("stm32f4", "part.hpp"))
        row = next((match for match in rows if match["env"] == manifest.env), None)
        if row is None:
            raise ConfigError(f"{_path('stm32f4', 'part.hpp')}: kClockParts has no row for {manifest.env}: add one")
        return Buses(int(row["wait"]), int(row["apb1"]), int(row["apb2"]))
    if manifest.family not in ("stm32f2", "stm32l4"):
        return None
    text = _source(manifest.family, "clock.cpp")
    wait_states = int(_one(_WAIT_STATES.pattern, text))
    if manifest.family == "stm32l4":  # its prescalers stay as a reset leaves them
        return Buses(wait_states, 1, 1)
    switch = _F2_SWITCH.search(text)
    if switch is None:
        raise ConfigError(f"{_path('stm32f2', 'clock.cpp')}: its bus prescalers are not found")
    return Buses(wait_states, int(switch["apb1"]), int(switch["apb2"]))


def baud_settings(family: str) -> dict[int, int]:
    """The values that a Nordic part's baud rate register is given, by rate."""
    text = _source(family, "console.hpp" if family == "nrf52" else "hal.cpp")
    return {int(rate): int(value, 16) for rate, value in _BAUD_SETTING.findall(text)}


def registers(family: str) -> dict[str, int]:
    """Address of every register that a family's HAL uses, named PERIPHERAL_REGISTER as in the vendor's SVD file."""
    return {name: int(address, 16) for name, address in _REGISTER.findall(_source(family, "registers.hpp"))}


def _path(family: str, name: str) -> Path:
    return FIRMWARE / "hal" / family / name


@cache
def _source(family: str, name: str) -> str:
    path = _path(family, name)
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}: is the project's source complete?") from error


def _one(pattern: str, text: str) -> str:
    match = re.search(pattern, text)
    if match is None:
        raise ConfigError(f"the HAL's sources no longer have {pattern!r}: this check has to follow them")
    return match[1]
