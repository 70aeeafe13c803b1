"""Units in which metrics and limits are given, and what they are of each other."""

from __future__ import annotations

import re

from bench.errors import ConfigError

_SCALES: dict[str, dict[str, float]] = {
    "bytes": {"bytes": 1, "B": 1, "byte": 1, "kB": 1e3, "MB": 1e6, "KiB": 1 << 10, "MiB": 1 << 20},
    "J": {"J": 1, "mJ": 1e-3, "uJ": 1e-6, "µJ": 1e-6, "nJ": 1e-9},
    "s": {"s": 1, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9, "min": 60},
    "A": {"A": 1, "mA": 1e-3, "uA": 1e-6, "µA": 1e-6},
    "Hz": {"Hz": 1, "kHz": 1e3, "MHz": 1e6},
    "instructions": {"instructions": 1},
    "cycles": {"cycles": 1},
    "1": {"1": 1, "%": 0.01},
}
"""Quantity -> unit -> factor. Other units are known only to themselves."""

_BASES = {unit: quantity for quantity, units in _SCALES.items() for unit in units}


_QUANTITY = re.compile(r"([+-]?\d+(?:\.\d+)?)\s*([^\s\d].*)")


def quantity(text: str) -> tuple[float, str]:
    """Value and unit of "16 KiB". Raises ConfigError for what is no such text."""
    found = _QUANTITY.fullmatch(text.strip())
    if found is None:
        raise ConfigError('a number and a unit, such as "16 KiB"')
    return float(found[1]), found[2]


def converted(value: float, unit: str, to: str) -> float:
    """A value in another unit of the same quantity. Raises ConfigError where there is no such factor."""
    if unit == to:
        return value
    for asked in (unit, to):
        if asked == "KB":
            raise ConfigError("unit KB: say kB for 1,000 bytes or KiB for 1,024")
    if unit not in _BASES or to not in _BASES or _BASES[unit] != _BASES[to]:
        known = ", ".join(_SCALES[_BASES[to]]) if to in _BASES else to
        raise ConfigError(f"what is in {unit} cannot be told in {to}: give it in {known}")
    scale = _SCALES[_BASES[unit]]
    return value * scale[unit] / scale[to]
