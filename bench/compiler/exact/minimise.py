"""The lowest peak: from a placement that is known downwards, from the bound upwards, until they meet.

Each round asks the solver first for the bound, which it often reaches; if that is proved to be impossible, the bound
rises. Then it halves what lies between bound and peak. A question that takes more nodes than the round allows is left
open, and the next round, which allows four times as many, asks again. All is counted in nodes, so that without a
deadline the same blocks give the same addresses everywhere.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass

from bench.compiler.exact.library import Attempt, Row, Verdict, attempt

_FIRST_ROUND = 50  # nodes for each block and question
_GROWTH = 4


@dataclass(frozen=True)
class Minimum:
    """Offsets in the order of the rows, where the highest block ends, and what is proved to be needed. Bytes."""

    offsets: tuple[int, ...]
    peak: int
    lower_bound: int
    nodes: int

    @property
    def proved_optimal(self) -> bool:
        """Whether no placement ends lower."""
        return self.peak <= self.lower_bound


def minimise(
    rows: Sequence[Row],
    offsets: Sequence[int],
    lower_bound: int,
    *,
    goal: int = 0,
    nodes: int | None = None,
    deadline: float = math.inf,
) -> Minimum:
    """Lowers the peak of a placement.

    Args:
        rows: of positive size.
        offsets: a placement of them.
        lower_bound: bytes that no placement does without.
        goal: the search ends when the peak is no higher.
        nodes: of all searches together; without end if absent.
        deadline: of time.monotonic().

    Raises:
        ConfigError: as attempt() does.
    """
    return _Descent(rows, offsets, lower_bound, goal, nodes, deadline).run()


class _Descent:
    """Keeps the best placement and the proved bound. `grain` divides all ends that a placement can have."""

    def __init__(
        self, rows: Sequence[Row], offsets: Sequence[int], bound: int, goal: int, nodes: int | None, deadline: float
    ) -> None:
        self.rows = rows
        self.offsets = tuple(offsets)
        self.peak = peak_of(rows, offsets)
        self.grain = math.gcd(*(number for row in rows for number in row[2:])) or 1
        self.bound = -(-bound // self.grain) * self.grain
        self.goal = goal
        self.left = math.inf if nodes is None else nodes
        self.used = 0
        self.deadline = deadline

    def run(self) -> Minimum:
        share = _FIRST_ROUND * len(self.rows)
        while not self._done:
            self._round(share)
            share *= _GROWTH
        return Minimum(self.offsets, self.peak, min(self.bound, self.peak), self.used)

    @property
    def _done(self) -> bool:
        met = self.peak <= max(self.bound, self.goal)
        return met or self.left <= 0 or time.monotonic() >= self.deadline

    def _round(self, share: int) -> None:
        """Asks for the bound, then halves; `low` is the lowest capacity that this round has not asked for."""
        low = max(self.bound, self.goal // self.grain * self.grain)
        target = low
        while not self._done and low < self.peak:
            asked = self._ask(target, share)
            if asked is not Verdict.PLACED:
                low = target + self.grain
            steps = (self.peak - low) // self.grain
            target = low + (steps - 1) // 2 * self.grain

    def _ask(self, capacity: int, share: int) -> Verdict:
        found: Attempt = attempt(self.rows, capacity, nodes=int(min(share, self.left)), deadline=self.deadline)
        self.used += found.nodes
        self.left -= max(1, found.nodes)
        if found.verdict is Verdict.PLACED:
            self.offsets, self.peak = found.offsets, peak_of(self.rows, found.offsets)
        elif found.verdict is Verdict.INFEASIBLE:
            self.bound = max(self.bound, capacity + self.grain)
        return found.verdict


def peak_of(rows: Sequence[Row], offsets: Sequence[int]) -> int:
    """Where the highest block ends."""
    return max((offset + row[2] for row, offset in zip(rows, offsets, strict=True)), default=0)
