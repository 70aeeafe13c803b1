"""The exact solver, compiled for the host on first use and called through ctypes."""

from __future__ import annotations

import ctypes
import enum
import math
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from bench import native
from bench.errors import ConfigError, InfrastructureError

Row = tuple[int, int, int, int]
"""A block: lower, upper (its life, half-open), size and alignment in bytes."""

MOST_BLOCKS = (
    4000  # of a connected part: a search goes as deep as there are blocks, and keeps what is open at every depth
)
_MOST_BYTES = 2**62
_MOST_NODES = 2**62
_WARNINGS = ("-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Wshadow")
_FLAGS = ("-std=c++17", "-O3", "-march=native", "-fPIC", *_WARNINGS)
_FOLDER = Path(__file__).parent
_LOOK_S = 0.05  # how soon Ctrl-C and deadlines are noticed


class Switch(enum.IntFlag):
    """The rules of the search; solver.hpp says what each does. Without any of them the answer is the same, but late."""

    USEFUL_SECTIONS = 1 << 0
    DECOMPOSITION = 1 << 1
    SLEEP = 1 << 2
    SECTION_BOUND = 1 << 3
    DOMINANCE = 1 << 4
    SUPPORT = 1 << 5
    STACK_ORDER = 1 << 6
    BACKJUMPING = 1 << 7
    PORTFOLIO = 1 << 8


ALL_SWITCHES = ~Switch(0)


class Verdict(enum.Enum):
    """How a search ended."""

    PLACED = 0
    INFEASIBLE = 1
    """Proved: no placement does with the capacity."""
    GAVE_UP = 2
    """The nodes or the time were used up."""


@dataclass(frozen=True)
class Attempt:
    """Offsets in the order of the rows if all were placed, else none; and how many partial placements were tried."""

    verdict: Verdict
    offsets: tuple[int, ...]
    nodes: int


def attempt(
    rows: Sequence[Row],
    capacity: int,
    *,
    nodes: int | None = None,
    deadline: float = math.inf,
    switches: Switch = ALL_SWITCHES,
) -> Attempt:
    """Places all blocks at or below a capacity, or proves that it cannot be done.

    Args:
        rows: of positive size.
        capacity: in bytes.
        nodes: how many partial placements may be looked at; without end if absent. The answer depends on nothing else.
        deadline: of time.monotonic(); makes the answer depend on how fast the machine is.
        switches: rules to use, for tests and measurements.

    Raises:
        ConfigError: no compiler, or numbers or blocks too many for the solver.
    """
    check_size(rows)
    flat = [number for row in rows for number in row]
    blocks = (ctypes.c_int64 * len(flat))(*flat)
    offsets = (ctypes.c_int64 * len(rows))()
    used, stop = ctypes.c_int64(0), ctypes.c_int32(0)
    call = load().exact_solve
    result: list[int] = []

    def work() -> None:
        limit = _MOST_NODES if nodes is None else max(0, min(nodes, _MOST_NODES))
        most = max(-1, min(capacity, _MOST_BYTES))
        result.append(call(blocks, len(rows), most, switches.value, limit, stop, offsets, used))

    _in_thread(work, stop, deadline)
    if not result or result[0] < 0:
        raise InfrastructureError("the exact placement ran out of memory: use fewer blocks")
    verdict = Verdict(result[0])
    return Attempt(verdict, tuple(offsets) if verdict is Verdict.PLACED else (), used.value)


def takes(rows: Sequence[Row]) -> bool:
    """Whether check_size() passes."""
    try:
        check_size(rows)
    except ConfigError:
        return False
    return True


def largest_part(rows: Sequence[Row]) -> int:
    """How many blocks the largest connected part has: between two parts there is a time at which nothing lives on."""
    largest = count = 0
    end: int | None = None
    for lower, upper, *_ in sorted(rows):
        count = 1 if end is None or lower >= end else count + 1
        end = upper if end is None else max(end, upper)
        largest = max(largest, count)
    return largest


def check_size(rows: Sequence[Row]) -> None:
    """Raises ConfigError if the solver cannot take so many blocks, or so large numbers."""
    if largest_part(rows) > MOST_BLOCKS:
        raise ConfigError(
            f"{largest_part(rows)} blocks whose lives are connected: exact placement takes {MOST_BLOCKS} at most"
        )
    if sum(row[2] + row[3] for row in rows) >= _MOST_BYTES:
        raise ConfigError("sizes and alignments come to 2^62 bytes or more: exact placement takes less")
    if any(abs(time_) >= _MOST_BYTES for row in rows for time_ in row[:2]):
        raise ConfigError("times of 2^62 or more: exact placement takes smaller ones")


def _in_thread(work: Callable[[], None], stop: ctypes.c_int32, deadline: float) -> None:
    """Runs a call into the library so that Ctrl-C and the deadline end it: Python cannot interrupt it by itself."""
    thread = threading.Thread(target=work, name="exact placement", daemon=True)
    thread.start()
    try:
        while thread.is_alive():
            thread.join(_LOOK_S)
            if time.monotonic() >= deadline:
                stop.value = 1
    finally:
        stop.value = 1
        thread.join()


@cache
def load() -> ctypes.CDLL:
    """The library. Compiling it takes some seconds, once."""
    sources, headers = sorted(_FOLDER.glob("*.cpp")), sorted(_FOLDER.glob("*.hpp"))
    target = native.cached("exact", "exact", ".so", sources, headers, _FLAGS)
    if not target.is_file():
        native.compile_to([native.compiler(), *_FLAGS, "-shared", *map(str, sources)], target, "the exact placement")
    library = ctypes.CDLL(str(target))
    numbers = ctypes.POINTER(ctypes.c_int64)
    library.exact_solve.restype = ctypes.c_int32
    library.exact_solve.argtypes = (
        numbers, ctypes.c_size_t, ctypes.c_int64, ctypes.c_uint32, ctypes.c_int64, ctypes.POINTER(ctypes.c_int32),
        numbers, numbers,
    )  # fmt: skip
    return library
