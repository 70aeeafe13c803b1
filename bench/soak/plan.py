"""Which faults a soak injects, and in what order: drawn by its seed alone."""

from __future__ import annotations

import itertools
import math
import random
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import get_args

from bench.errors import ConfigError
from bench.virtual.faults.spec import LINK_KINDS, BoardKind, Direction, Fault, LinkKind

METER, DISK = "meter-freeze", "disk-full"

SHARES: dict[str, float] = {
    "bit-flip": 0.34,
    "drop": 0.27,
    "burst": 0.18,
    "stall": 0.09,
    "disconnect": 0.04,
    "slow": 0.02,
    "reset": 0.015,
    "hard-fault": 0.01,
    "hang": 0.0055,
    "wrong-build": 0.0055,
    "brown-out": 0.0055,
    "probe-gone": 0.0055,
    METER: 0.0055,
    DISK: 0.0055,
}
"""Of all faults: weighted towards those that cost a second, and at least 0.5 % of each."""

HEAVY = ("hang", "wrong-build", "brown-out", "probe-gone")
"""Take more than a resync. They cost a board many seconds, in which the others wait: several boards have theirs at a
time."""

_GAP = 300  # bytes on the line before a fault strikes, at most
_FLASH_CHANGES = 250  # of flash, before the power fails, at most: fewer than a page has


@dataclass(frozen=True)
class Planned:
    """A fault in the plan's order, and the seed of its details."""

    number: int
    kind: str
    seed: int


def kinds_of(text: str) -> tuple[str, ...]:
    """`all`, or kinds with commas between. Raises ConfigError."""
    if text == "all":
        return tuple(SHARES)
    kinds = tuple(dict.fromkeys(part.strip() for part in text.split(",")))
    if unknown := [kind for kind in kinds if kind not in SHARES]:
        raise ConfigError(f"--faults: no kind {unknown[0]!r}: say all, or some of {', '.join(SHARES)}")
    return kinds


def make_plan(kinds: Sequence[str], count: int, seed: int, together: int) -> list[Planned]:
    """So many faults, at least one of each kind.

    Args:
        kinds: of SHARES.
        count: of all faults.
        seed: decides order and details.
        together: how many boards have a costly fault at a time.

    Raises:
        ConfigError: fewer faults than kinds.
    """
    if count < len(kinds):
        raise ConfigError(f"--count {count}: {len(kinds)} kinds of faults need at least as many")
    generator = random.Random(seed)
    counts = _counts(kinds, count)
    heavy = [kind for kind in kinds if kind in HEAVY for _ in range(counts[kind])]
    light = [kind for kind in kinds if kind not in HEAVY for _ in range(counts[kind])]
    generator.shuffle(heavy)
    generator.shuffle(light)
    groups = [heavy[at : at + together] for at in range(0, len(heavy), together)]
    places = sorted(generator.sample(range(len(light) + 1), min(len(groups), len(light) + 1)))
    order: list[str] = []
    for at in range(len(light) + 1):
        while places and places[0] == at:
            places.pop(0)
            order += groups.pop()
        order += light[at : at + 1]
    order += [kind for group in groups for kind in group]
    return [Planned(number, kind, generator.randrange(1 << 31)) for number, kind in enumerate(order)]


def _counts(kinds: Sequence[str], count: int) -> dict[str, int]:
    """By share, one at least; the first kinds, the cheapest, take what rounding leaves."""
    whole = sum(SHARES[kind] for kind in kinds)
    counts = {kind: max(1, math.floor(count * SHARES[kind] / whole)) for kind in kinds}
    for kind in itertools.cycle(kinds):
        excess = sum(counts.values()) - count
        if excess == 0:
            break
        if excess < 0:
            counts[kind] += 1
        elif counts[kind] > 1:
            counts[kind] -= 1
    return counts


def detailed(planned: Planned, image: str) -> Fault:
    """The fault as it goes to a board; `image` is another build."""
    draw = random.Random(planned.seed)
    kind = planned.kind
    assert kind in (*LINK_KINDS, *get_args(BoardKind))
    named: LinkKind | BoardKind = kind  # type: ignore[assignment]
    direction: Direction = draw.choice(("down", "up"))
    size = {
        "bit-flip": draw.randint(1, 3),
        "drop": draw.randint(1, 8),
        "burst": draw.randint(8, 64),
        "slow": draw.randint(4, 10),
        "brown-out": draw.randint(1, _FLASH_CHANGES),
    }.get(kind, 1)
    longest_s = {"stall": 1.5, "disconnect": 1.0, "slow": 2.0, "brown-out": 0.5}.get(kind, 0.0)
    seconds = round(draw.uniform(0.05, longest_s), 3) if longest_s else 0.0
    where = image if kind in ("wrong-build", "brown-out") else ""
    return Fault(named, direction, draw.randrange(_GAP), size, seconds, draw.randrange(1 << 31), where)


class Queue:
    """Faults that have not struck yet, in order; used by several threads."""

    def __init__(self, plan: Sequence[Planned]) -> None:
        self._left = list(plan)
        self._lock = threading.Lock()

    def take(self) -> Planned | None:
        """The next one; None when there is none."""
        with self._lock:
            return self._left.pop(0) if self._left else None

    def put_back(self, planned: Planned) -> None:
        """It has not struck: the next to be taken."""
        with self._lock:
            self._left.insert(0, planned)

    def __len__(self) -> int:
        return len(self._left)
