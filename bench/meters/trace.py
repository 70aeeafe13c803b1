"""What a current meter recorded: equidistant samples, what was lost of them, and what else was sampled with them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Phase = Literal["compute", "link", "idle"]
PHASES: tuple[Phase, ...] = ("compute", "link", "idle")

SupplyBy = Literal["meter", "external"]
"""Who feeds the board: the meter, or something else through the meter."""


@dataclass(frozen=True)
class Instrument:
    """A meter as it names itself. `physical` is False for an emulated one, whose figures are never called measured."""

    kind: str
    identity: str
    physical: bool


@dataclass(frozen=True)
class Mark:
    """From sample `at` on, the host says, the board is in this phase."""

    at: int
    phase: Phase


@dataclass(frozen=True)
class Gap:
    """`samples` samples from sample `at` on were lost: the meter took them, and they did not arrive."""

    at: int
    samples: int


@dataclass(frozen=True, eq=False)
class Trace:
    """One recording. Lost samples have their place in the arrays: their current is NaN, their logic that before them.

    `logic` has a bit for each logic channel, and is None where the instrument has none. `unplaced_samples` were lost
    too, as the clock tells, but where is not known. `outlier_samples` are single samples that stand out by far from
    both their neighbours; they are counted, not removed.
    """

    instrument: Instrument
    voltage_mv: int
    supply: SupplyBy
    rate_hz: float
    current_ua: NDArray[np.float64]
    logic: NDArray[np.uint8] | None = None
    gaps: tuple[Gap, ...] = ()
    unplaced_samples: int = 0
    marks: tuple[Mark, ...] = ()
    outlier_samples: int = field(default=0)

    @property
    def samples(self) -> int:
        """Of the whole recording, lost ones that have a place included."""
        return len(self.current_ua)

    @property
    def seconds(self) -> float:
        """By the meter's own clock."""
        return self.samples / self.rate_hz

    @property
    def lost_samples(self) -> int:
        """Taken and not arrived."""
        return sum(gap.samples for gap in self.gaps) + self.unplaced_samples

    @property
    def lost_share(self) -> float:
        """Lost samples of all that were taken; 1 for a recording without any."""
        taken = self.samples + self.unplaced_samples
        return self.lost_samples / taken if taken else 1.0

    def whole_current_ua(self) -> NDArray[np.float64]:
        """The current with straight lines across what was lost."""
        lost = np.isnan(self.current_ua)
        if not lost.any():
            return self.current_ua
        if lost.all():
            return np.zeros_like(self.current_ua)
        places = np.arange(self.samples)
        return np.interp(places, places[~lost], self.current_ua[~lost])

    def energy_uj(self, chosen: NDArray[np.bool_] | None = None) -> float:
        """∫ V·I dt in µJ: µA · V · s, over all samples or those chosen."""
        current = self.whole_current_ua()
        total = float(current.sum() if chosen is None else current[chosen].sum())
        return total * (self.voltage_mv / 1000) / self.rate_hz


def with_gaps(
    current_ua: NDArray[np.float64], logic: NDArray[np.uint8] | None, lost_before: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.uint8] | None, tuple[Gap, ...]]:
    """Puts what arrived in its place, given how many samples were lost before each that did."""
    if not lost_before.any():
        return current_ua, logic, ()
    place = np.arange(len(current_ua)) + np.cumsum(lost_before)
    current = np.full(int(place[-1]) + 1, np.nan)
    current[place] = current_ua
    first = np.flatnonzero(lost_before)
    gaps = tuple(Gap(int(place[i] - lost_before[i]), int(lost_before[i])) for i in first)
    if logic is None:
        return current, None, gaps
    latest = np.zeros(len(current), dtype=np.int64)
    latest[place] = np.arange(len(current_ua))
    return current, logic[np.maximum.accumulate(latest)], gaps


_STANDS_OUT = 8.0
_LEAST_UA = 500.0


def count_outliers(current_ua: NDArray[np.float64]) -> int:
    """Samples that are far above both the two before and the two after them, as a glitch is and a step is not."""
    if len(current_ua) < 5:
        return 0
    around = np.max([current_ua[:-4], current_ua[1:-3], current_ua[3:-1], current_ua[4:]], axis=0)
    middle = current_ua[2:-2]
    with np.errstate(invalid="ignore"):
        return int(np.count_nonzero((middle > _STANDS_OUT * np.abs(around)) & (middle - around > _LEAST_UA)))
