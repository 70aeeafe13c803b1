"""A trace in few numbers, to be kept beside the figures and drawn: a recording of ten seconds has a million samples.

The recording is cut into buckets of equally many samples, 2,000 at most, the last one perhaps shorter. Of each are kept
the least, the mean and the greatest current, the phase that most of its samples belong to, and how many were lost. What
is shorter than a bucket shows in its least and greatest.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bench.meters.trace import PHASES, Phase, Trace

MOST_BUCKETS = 2000


@dataclass(frozen=True)
class Excerpt:
    """Currents are in µA, None in a bucket of which nothing arrived. `phases` has the place in PHASES of each bucket's.

    `phases_by` says who told them: the board's marker pin, or the host.
    """

    samples: int
    rate_hz: float
    bucket_samples: int
    least_ua: tuple[float | None, ...]
    mean_ua: tuple[float | None, ...]
    greatest_ua: tuple[float | None, ...]
    phases: tuple[int, ...]
    lost: tuple[int, ...]
    phases_by: str

    @property
    def seconds(self) -> float:
        """Of the recording, by the meter's clock."""
        return self.samples / self.rate_hz

    @property
    def bucket_s(self) -> float:
        """Of each bucket but the last."""
        return self.bucket_samples / self.rate_hz

    @property
    def buckets(self) -> int:
        """How many."""
        return len(self.phases)

    def spans(self, together: int = 1) -> list[tuple[Phase, float, float]]:
        """Phase, begin and end in seconds of each stretch in one phase, by the majority of each `together` buckets."""
        found: list[tuple[Phase, float, float]] = []
        for first in range(0, self.buckets, together):
            codes = self.phases[first : first + together]
            phase = PHASES[max(range(len(PHASES)), key=codes.count)]  # of equally many, the busier
            end = min((first + together) * self.bucket_s, self.seconds)
            if found and found[-1][0] == phase:
                found[-1] = (phase, found[-1][1], end)
            else:
                found.append((phase, first * self.bucket_s, end))
        return found

    def gaps(self) -> list[tuple[float, float]]:
        """Begin and end in seconds of each stretch of buckets of which samples were lost."""
        found: list[tuple[float, float]] = []
        for number, lost in enumerate(self.lost):
            if not lost:
                continue
            begin, end = number * self.bucket_s, min((number + 1) * self.bucket_s, self.seconds)
            if found and found[-1][1] == begin:
                found[-1] = (found[-1][0], end)
            else:
                found.append((begin, end))
        return found


def excerpt(trace: Trace, codes: NDArray[np.uint8], phases_by: str, most: int = MOST_BUCKETS) -> Excerpt:
    """Of a recording and its samples' phases (`split.phase_codes`), in `most` buckets at most."""
    size = max(1, math.ceil(trace.samples / most))
    starts = np.arange(0, trace.samples, size)
    if not len(starts):
        return Excerpt(0, trace.rate_hz, size, (), (), (), (), (), phases_by)
    current = trace.current_ua
    arrived = ~np.isnan(current)
    count = np.add.reduceat(arrived.astype(np.int64), starts)
    total = np.add.reduceat(np.where(arrived, current, 0.0), starts)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.where(count > 0, total / count, np.nan)
    lengths = np.diff(np.append(starts, trace.samples))
    votes = np.stack([np.add.reduceat((codes == code).astype(np.int64), starts) for code in range(len(PHASES))])
    return Excerpt(
        samples=trace.samples,
        rate_hz=trace.rate_hz,
        bucket_samples=size,
        least_ua=_numbers(np.fmin.reduceat(current, starts)),
        mean_ua=_numbers(mean),
        greatest_ua=_numbers(np.fmax.reduceat(current, starts)),
        phases=tuple(int(code) for code in votes.argmax(axis=0)),  # of equally many, the busier phase
        lost=tuple(int(number) for number in lengths - count),
        phases_by=phases_by,
    )


def _numbers(values: NDArray[np.float64]) -> tuple[float | None, ...]:
    """Five significant digits, which no meter exceeds; None for what is not a number."""
    return tuple(None if math.isnan(value) else float(f"{value:.5g}") for value in values)
