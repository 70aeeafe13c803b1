"""What a test asks of a board, by `@pytest.mark.board(...)`, and why a board does not do."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from bench.errors import ConfigError
from bench.pytest_plugin.units import converted, quantity
from bench.rack.entry import BoardEntry
from bench.rack.manifest import BoardManifest, load_manifest

_Check = Callable[[Any, BoardEntry, BoardManifest], str | None]


def _texts(asked: Any) -> tuple[str, ...]:
    return (asked,) if isinstance(asked, str) else tuple(asked)


def _one_of(word: str, asked: Any, value: str) -> str | None:
    return None if value in _texts(asked) else f"{word} {' or '.join(_texts(asked))} is asked for, it has {value}"


def _family(asked: Any, _entry: BoardEntry, manifest: BoardManifest) -> str | None:
    """`stm32` is all of stm32f4, stm32f2, stm32l4."""
    if manifest.family.startswith(_texts(asked)):
        return None
    return f"family {' or '.join(_texts(asked))} is asked for, it is a {manifest.family}"


def _features(asked: Any, entry: BoardEntry, _manifest: BoardManifest) -> str | None:
    lacking = [feature for feature in _texts(asked) if feature not in entry.features]
    return f"without {', '.join(lacking)} among its features in the inventory" if lacking else None


def _least(word: str, asked: Any, value: int) -> str | None:
    least = _bytes(asked)
    return None if value >= least else f"{least:,} bytes of {word} are asked for, it has {value:,}"


def _bytes(asked: Any) -> int:
    """16384 or "16 KiB". Raises ConfigError for anything else."""
    if isinstance(asked, int) and not isinstance(asked, bool) and asked >= 0:
        return asked
    if isinstance(asked, str):
        return round(converted(*quantity(asked), "bytes"))
    raise ConfigError(f'a number of bytes, such as 16384 or "16 KiB", not {asked!r}')


def _whether(asked: Any, value: bool, there: str, absent: str) -> str | None:
    return None if value == bool(asked) else there if value else absent


def _has_meter(entry: BoardEntry) -> bool:
    return entry.meter is not None and entry.meter.kind != "modelled"


_CHECKS: Mapping[str, _Check] = {
    "name": lambda asked, entry, _manifest: _one_of("board", asked, entry.name),
    "env": lambda asked, entry, _manifest: _one_of("environment", asked, entry.env),
    "core": lambda asked, _entry, manifest: _one_of("core", asked, manifest.core),
    "family": _family,
    "features": _features,
    "sram_min": lambda asked, _entry, manifest: _least("SRAM", asked, manifest.ram.size),
    "flash_min": lambda asked, _entry, manifest: _least("flash", asked, manifest.flash.size),
    "fpu": lambda asked, _entry, manifest: _whether(asked, manifest.has_fpu, "it has an FPU", "it has no FPU"),
    "physical": lambda asked, entry, _m: _whether(asked, entry.virtual is None, "it is a real board", "it is emulated"),
    "meter": lambda asked, entry, _m: _whether(asked, _has_meter(entry), "it has a meter", "it has no meter"),
    "one": lambda _asked, _entry, _manifest: None,  # says how many boards, not which
}


_SIZES = ("sram_min", "flash_min")
_FLAGS = ("fpu", "physical", "meter", "one")


def known() -> tuple[str, ...]:
    """All capabilities."""
    return tuple(_CHECKS)


def check(asked: Mapping[str, Any]) -> None:
    """That boards can be asked for this. Raises ConfigError that names the capability and what it takes."""
    for name, value in asked.items():
        if name not in _CHECKS:
            raise ConfigError(f"{name}=...: no such capability; known are {', '.join(_CHECKS)}")
        try:
            _check_value(name, value)
        except ConfigError as error:
            raise ConfigError(f"{name}={value!r}: {error}") from error


def _check_value(name: str, value: Any) -> None:
    if name in _SIZES:
        _bytes(value)
    elif name in _FLAGS:
        if not isinstance(value, bool):
            raise ConfigError("True or False")
    elif not isinstance(value, str | list | tuple | set | frozenset) or not all(isinstance(v, str) for v in value):
        raise ConfigError("a text, or a list of texts")
    elif not value or not all(_texts(value)):
        raise ConfigError("nothing is named")


def check_size(size: Mapping[str, Any]) -> None:
    """Of a cohort. Raises ConfigError for anything but numbers of boards."""
    for name, value in size.items():
        if name not in ("boards", "most"):
            raise ConfigError(f"{name}=...: a cohort has boards=, how many at least, and most=")
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise ConfigError(f"{name}={value!r}: a number of boards, 1 or more")


def another(entry: BoardEntry, asked: Mapping[str, Any], boards: Iterable[BoardEntry]) -> bool:
    """Whether boards are asked for by name or environment, are there, and this is none of them; or one is enough, and
    this is not the first that does."""
    if asked.get("one"):
        first = next((other.name for other in boards if unmet(other, asked) is None), entry.name)
        return entry.name != first
    identity = {name: asked[name] for name in ("name", "env") if name in asked}
    return unmet(entry, identity) is not None and any(unmet(other, identity) is None for other in boards)


def unmet(entry: BoardEntry, asked: Mapping[str, Any]) -> str | None:
    """Why a board does not do; None when it does."""
    manifest = load_manifest(entry.env)
    reasons = [reason for name, value in asked.items() if (reason := _CHECKS[name](value, entry, manifest)) is not None]
    return f"board {entry.name}: {'; '.join(reasons)}" if reasons else None
