"""Sparse update schemes as files: which layers train, and how many of their input channels."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.errors import ConfigError

SHIPPED = Path(__file__).with_name("schemes")
_KEYS = frozenset(("name", "bias", "channels", "fraction"))


@dataclass(frozen=True)
class Entry:
    """One `[[layer]]`. `fraction` of the input channels, above 0 to 1, takes the place of `channels` where given."""

    name: str
    bias: bool
    channels: int
    fraction: float | None


def shipped() -> tuple[str, ...]:
    """Names of the files that come with the bench."""
    return tuple(sorted(path.stem for path in SHIPPED.glob("*.toml")))


def load(name: str) -> tuple[Entry, ...]:
    """The layers of a file: a path that ends in .toml, or the name of a file that comes with the bench.

    Raises:
        ConfigError: no such file, or not a scheme; the message names file, layer and field.
    """
    path = Path(name) if name.endswith(".toml") else SHIPPED / f"{name}.toml"
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        known = f" (there are {', '.join(shipped())}; files of your own end in .toml)" if path.parent == SHIPPED else ""
        raise ConfigError(f"scheme sparse:{name}: cannot be read: {error.strerror}{known}") from error
    except ValueError as error:
        raise ConfigError(f"scheme sparse:{name}: not TOML: {error}") from error
    layers = content.get("layer")
    if not isinstance(layers, list) or not layers or set(content) != {"layer"}:
        raise ConfigError(f"scheme sparse:{name}: a scheme is one or more [[layer]] tables, and nothing else")
    return tuple(_entry(f"scheme sparse:{name}: layer {index}", layer) for index, layer in enumerate(layers, start=1))


def _entry(where: str, layer: Any) -> Entry:
    if not isinstance(layer, dict) or not isinstance(layer.get("name"), str):
        raise ConfigError(f"{where}: has no name")
    where = f"{where} ({layer['name']})"
    if unknown := sorted(set(layer) - _KEYS):
        raise ConfigError(f"{where}: unknown field {unknown[0]}; there are {', '.join(sorted(_KEYS))}")
    bias, channels, fraction = layer.get("bias", True), layer.get("channels", 0), layer.get("fraction")
    if not isinstance(bias, bool):
        raise ConfigError(f"{where}: bias is true or false, not {bias!r}")
    if "channels" in layer and "fraction" in layer:
        raise ConfigError(f"{where}: channels or fraction, not both")
    if isinstance(channels, bool) or not isinstance(channels, int):
        raise ConfigError(f"{where}: channels is a whole number, not {channels!r}")
    if fraction is not None and (isinstance(fraction, bool) or not isinstance(fraction, int | float)):
        raise ConfigError(f"{where}: fraction is a number, not {fraction!r}")
    if fraction is not None and not 0 < fraction <= 1:
        raise ConfigError(f"{where}: fraction {fraction:g}: above 0, at most 1")
    return Entry(layer["name"], bias, channels, None if fraction is None else float(fraction))
