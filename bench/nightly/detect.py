"""Is tonight's figure another than those of the nights before? Three ways to see a change.

* **exact**: figures that are counted, and decided by the experiment alone, are equal or are not.
* **level**: of all others, tonight's value is compared with the median of the nights before, in units of their spread.
  The spread is 1.4826 · MAD, which for normal noise is its standard deviation, and which no single odd night moves. It
  is itself an estimate from n nights, and is taken to be larger by 1 + 4/n for that.
* **step**: a small change is not told from noise in one night, but in several: of all splits of the nights in those
  before and at least four since, the one whose medians differ most, in units of what such medians differ by.

A change that is smaller than the metric's floor is none, however steady the figure.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

Direction = Literal["worse", "better"]
How = Literal["exact", "level", "step"]

LARGER = frozenset({"accuracy"})
COMPARED = frozenset(
    {
        "sram_static", "sram_arena", "sram_stack_high_water", "sram_total", "sram_federation", "instructions", "cycles",
        "energy", "step_energy", "inference_energy", "payload_up", "payload_down", "wire_up", "wire_down", "step_time",
        "round_time", "elapsed", "accuracy", "loss", "checkpoint",
    }
)  # fmt: skip
"""Metrics that have a better direction: LARGER or smaller."""

_MAD_TO_SIGMA = 1.4826
_RERUN_SHARE = 0.6
_MEDIAN_ERROR = math.sqrt(math.pi / 2)  # of a median of n values, in σ / √n


@dataclass(frozen=True)
class Rule:
    """What counts as a change."""

    window: int = 30
    """Nights that are looked back at."""
    least: int = 5
    """Earlier nights that a figure with noise needs to be judged."""
    sigmas: float = 3.6
    """Of one night's level: the run has to exceed it, and the mean of run and rerun."""
    step_sigmas: float = 6.0
    """Of a step, which is looked for at many places and on each night."""
    step_nights: int = 4
    """Since a step, at least."""
    floor: float = 0.01
    """As a share of the median."""
    accuracy_floor: float = 0.004
    """Of accuracy, as it is."""

    def floor_of(self, metric: str, level: float) -> float:
        """The least change of a metric with noise that is told, in its unit."""
        return self.accuracy_floor if metric == "accuracy" else self.floor * abs(level)


@dataclass(frozen=True)
class Change:
    """A figure that went from `before` to `after`; `tolerance` is what it may differ by. `since` is the place of the
    first night of a step, counted from the end: 0 is tonight."""

    direction: Direction
    how: How
    before: float
    after: float
    tolerance: float
    since: int = 0

    @property
    def share(self) -> float:
        """Of the level before; infinite where that was 0."""
        return (self.after - self.before) / abs(self.before) if self.before else math.copysign(math.inf, self.after)


def level_of(values: Sequence[float]) -> tuple[float, float]:
    """Median, and the standard deviation by MAD."""
    median = statistics.median(values)
    return median, _MAD_TO_SIGMA * statistics.median(abs(value - median) for value in values)


def judge(metric: str, history: Sequence[float], tonight: float, rule: Rule, *, exact: bool) -> Change | None:
    """The change of one night's figure against the nights before; None when there is none, or too few nights.

    Args:
        metric: says which direction is the better one, and the floor.
        history: earlier nights, oldest first.
        tonight: this night's value.
        rule: what counts.
        exact: whether the figure is decided by the experiment alone. One that is not but was the same on each of the
            nights before is treated so too, as SRAM on a physical board is.
    """
    recent = history[-rule.window :]
    if exact or (len(recent) >= rule.least and metric != "accuracy" and _steady(recent)):
        return _change(metric, "exact", recent[-1], tonight, 0.0) if recent else None
    if len(recent) < rule.least:
        return None
    median, sigma = level_of(recent)
    inflated = sigma * (1 + 4 / len(recent))
    return _change(metric, "level", median, tonight, max(rule.sigmas * inflated, rule.floor_of(metric, median)))


def find_step(metric: str, values: Sequence[float], rule: Rule) -> Change | None:
    """The step among several nights, the last of them tonight, that is most certain; None where none is certain."""
    recent = values[-2 * rule.window :]
    latest = statistics.median(recent[-rule.step_nights :])
    best: tuple[float, Change] | None = None
    for after in range(rule.step_nights, min(len(recent) - rule.least, rule.window) + 1):
        early, late = recent[:-after], recent[-after:]
        before, now = statistics.median(early), statistics.median(late)
        floor = rule.floor_of(metric, before)
        if abs(now - before) <= floor:
            continue
        rest = [abs(value - before) for value in early] + [abs(value - now) for value in late]
        sigma = _MAD_TO_SIGMA * statistics.median(rest) * (1 + 4 / len(rest))
        error = sigma * _MEDIAN_ERROR * math.sqrt(1 / len(early) + 1 / len(late))
        tolerance = max(rule.step_sigmas * error, floor)
        change = _change(metric, "step", before, now, tolerance, after - 1)
        certainty = abs(now - before) / tolerance if tolerance else math.inf
        # A stretch of worse nights that is over is none.
        lasts = change is not None and beyond(metric, change, latest)
        if change is not None and lasts and (best is None or certainty > best[0]):
            best = certainty, change
    return None if best is None else best[1]


def beyond(metric: str, change: Change, value: float) -> bool:
    """Whether another value shows the same change: in its direction, by more than the tolerance."""
    again = _change(metric, change.how, change.before, value, change.tolerance)
    return again is not None and again.direction == change.direction


def confirmed(metric: str, change: Change, again: float) -> bool:
    """Whether a rerun shows the same change: the mean of both is beyond the tolerance, and the rerun by enough that one
    odd run cannot have done it alone. Were it to be beyond the whole tolerance, its own noise would hide what is real.
    """
    alone = replace(change, tolerance=_RERUN_SHARE * change.tolerance)
    return beyond(metric, alone, again) and beyond(metric, change, (change.after + again) / 2)


def _change(metric: str, how: How, before: float, after: float, tolerance: float, since: int = 0) -> Change | None:
    difference = after - before
    # Sums of floating-point numbers may differ in their last digit with the order of their terms.
    if abs(difference) <= tolerance or math.isclose(before, after, rel_tol=1e-12):
        return None
    worse = (difference > 0) != (metric in LARGER)
    return Change("worse" if worse else "better", how, before, after, tolerance, since)


def _steady(values: Sequence[float]) -> bool:
    return all(math.isclose(value, values[0], rel_tol=1e-12) for value in values)
