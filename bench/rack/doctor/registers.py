"""The HAL's register addresses, against the vendors' SVD files that pyOCD ships."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any


@dataclass(frozen=True)
class Svd:
    """Addresses of a part's registers, PERIPHERAL_REGISTER, and its peripherals.

    `actual_rates`: what Nordic's file says that a baud rate really comes out as, by the value of BAUDRATE.
    """

    registers: dict[str, int]
    peripherals: frozenset[str]
    actual_rates: dict[int, int]


@cache
def load_svd(name: str) -> Svd:
    """Reads one of the files that pyOCD ships, with pyOCD's own reader."""
    from pyocd.debug.svd.loader import SVDFile  # imported when needed: it takes most of a second

    file = SVDFile.from_builtin(name)
    file.load()
    peripherals = list(file.device.peripherals)
    found = {
        f"{peripheral.name}_{register}": peripheral.base_address + offset
        for peripheral in peripherals
        for register, offset in _registers(peripheral)
    }
    return Svd(found, frozenset(peripheral.name for peripheral in peripherals), _actual_rates(peripherals))


def _actual_rates(peripherals: Iterable[Any]) -> dict[int, int]:
    registers = [register for peripheral in peripherals for register in peripheral.registers or ()]
    values = [
        value
        for register in registers
        if register.name == "BAUDRATE"
        for field in register.fields
        for value in field.enumerated_values or ()
    ]
    stated = [(value.value, re.search(r"actual rate: (\d+)", value.description or "")) for value in values]
    return {setting: int(match[1]) for setting, match in stated if match is not None}


def _registers(peripheral: Any) -> Iterator[tuple[str, int]]:
    for register in peripheral.registers or ():
        yield register.name, register.address_offset
    for array in getattr(peripheral, "register_arrays", None) or ():
        for register in array.registers:
            yield register.name, register.address_offset


def wrong_addresses(ours: dict[str, int], svd: Svd) -> tuple[int, list[str]]:
    """How many of our registers the file knows, and those at another address than in it."""
    known = {name: address for name, address in ours.items() if name in svd.registers}
    wrong = [
        f"{name} at {address:#010x}, in the file at {svd.registers[name]:#010x}"
        for name, address in known.items()
        if address != svd.registers[name]
    ]
    return len(known), wrong
