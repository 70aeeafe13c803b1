"""When a measurement of energy counts: the rules of EEMBC ULPMark-ML and MLPerf Tiny.

A run is at least ten seconds and ten iterations of what is measured. There are five runs; the result is the median one.
A run that lost more than 0.1 % of its samples is refused and made again.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from bench.errors import InfrastructureError
from bench.meters.excerpt import Excerpt, excerpt
from bench.meters.meter import Meter
from bench.meters.split import Share, Wiring, phase_codes, shares_of, split, told_by
from bench.meters.trace import PHASES, Phase, Trace


@dataclass(frozen=True)
class Rule:
    """What is asked of a measurement. `attempts` is how often a run is made until too little of it was lost."""

    window_s: float = 10.0
    iterations: int = 10
    runs: int = 5
    most_lost: float = 0.001
    attempts: int = 3

    @property
    def satisfies_eembc(self) -> bool:
        """Whether it asks no less than the published rule."""
        full = Rule()
        return (
            self.window_s >= full.window_s
            and self.iterations >= full.iterations
            and self.runs >= full.runs
            and self.most_lost <= full.most_lost
        )


QUICK = Rule(window_s=0.5, iterations=1, runs=1)
"""For a look: it does not satisfy the published rule."""


@dataclass(frozen=True)
class Run:
    """One run that counts: its phases' energy and time in all, over so many iterations."""

    iterations: int
    shares: Mapping[Phase, Share]
    lost_share: float
    outlier_samples: int
    refused: int
    """Attempts before it that lost too much."""
    voltage_mv: int
    supply: str
    excerpt: Excerpt | None = None
    """Of the recording; None where nothing was recorded."""

    def energy_uj(self, phase: Phase) -> float:
        """Of a phase, in one iteration."""
        return self.shares[phase].energy_uj / self.iterations

    def seconds(self, phase: Phase) -> float:
        """Of a phase, in one iteration."""
        return self.shares[phase].seconds / self.iterations


@dataclass(frozen=True)
class Figure:
    """What was measured: the runs, and of which phases it is made up."""

    runs: Sequence[Run]
    phases: tuple[Phase, ...]

    def total_uj(self, run: Run) -> float:
        """One iteration's energy in a run."""
        return sum(run.energy_uj(phase) for phase in self.phases)

    @property
    def median(self) -> Run:
        """The run with the median energy (the lower of two), so that its phases add up to it."""
        return sorted(self.runs, key=self.total_uj)[(len(self.runs) - 1) // 2]

    @property
    def energy_uj(self) -> float:
        """One iteration's, in the median run."""
        return self.total_uj(self.median)

    @property
    def spread(self) -> float:
        """Between the least and the greatest run, as a share of the median."""
        totals = [self.total_uj(run) for run in self.runs]
        middle = statistics.median(totals)
        return (max(totals) - min(totals)) / middle if middle else 0.0


_MOST_LOOKS = 8  # the last of two million iterations
_RUNS_TO_FILL = 4
_LONGER = 1.02  # times the window of the run before, with at least 1.05 times its iterations
_MOST_MORE = 16  # times the iterations, from one of these to the next

Work = Callable[[Meter, int], None]
"""Has the board do something so many times, and marks its phases for meters without logic channels."""


def measure(
    meter: Meter,
    work: Work,
    rule: Rule,
    wiring: Wiring,
    phases: tuple[Phase, ...] = PHASES,
    told: Callable[[str], None] = lambda _text: None,
) -> Figure:
    """As many runs of `work` as the rule asks for, each long enough.

    Args:
        meter: armed.
        work: what is measured.
        rule: how long and how often.
        wiring: of the meter's logic channels.
        phases: which count, for the window and for the energy.
        told: hears of each run and each refusal.

    Raises:
        InfrastructureError: too much was lost in each of several attempts, the marker never rose, or the meter failed.
    """
    iterations = _enough(meter, work, rule, wiring, phases)
    runs = []
    for number in range(1, rule.runs + 1):
        run = _long_run(meter, work, iterations, rule, wiring, phases, told)
        iterations = run.iterations
        runs.append(run)
        energy = sum(run.energy_uj(phase) for phase in phases)
        told(f"run {number} of {rule.runs}: {run.iterations} iterations, {energy:,.3f} µJ each")
    return Figure(runs, phases)


def _long_run(
    meter: Meter,
    work: Work,
    iterations: int,
    rule: Rule,
    wiring: Wiring,
    phases: tuple[Phase, ...],
    told: Callable[[str], None],
) -> Run:
    """A run that fills the window, with more iterations where so many do not.

    A look of few iterations may be mostly what is there once a run: where no marker pin is wired, its request and its
    reply count too, and on a fast board they take longer than a step.
    """
    before_s = 0.0
    for _ in range(_RUNS_TO_FILL):
        run = _run(meter, work, iterations, rule, wiring, told)
        window_s = _window_s(run.shares, phases)
        if window_s >= rule.window_s:
            return run
        if window_s < _LONGER * before_s:
            break  # a recording that ends before the board has done cannot be filled, however long the board works
        before_s = window_s
        iterations = math.ceil(iterations * min(_MOST_MORE, 1.05 * rule.window_s / max(window_s, 1e-6)))
        told(f"{run.iterations} iterations took {window_s:.3f} of {rule.window_s:g} s: once more with {iterations}")
    raise InfrastructureError(
        f"{meter.instrument.identity}: {run.iterations} iterations took {window_s:.3f} s, but were to take "
        f"{rule.window_s:g} s: the recording is not whole, or the board was disturbed"
    )


def _enough(meter: Meter, work: Work, rule: Rule, wiring: Wiring, phases: tuple[Phase, ...]) -> int:
    """How many iterations fill the window, from ever longer looks."""
    iterations = 1
    for _ in range(_MOST_LOOKS):
        trace = _record(meter, work, iterations)
        window_s = _window_s(_shares(trace, wiring, phases), phases)
        wanted = math.ceil(iterations * 1.02 * rule.window_s / window_s)
        if window_s >= rule.window_s / 100 or iterations >= wanted:
            return max(rule.iterations, wanted)
        iterations *= 8
    raise InfrastructureError(
        f"{meter.instrument.identity}: {iterations // 8} iterations take no longer than {window_s:.6f} s: "
        "the recording is not whole, or the board was disturbed"
    )


def _run(meter: Meter, work: Work, iterations: int, rule: Rule, wiring: Wiring, told: Callable[[str], None]) -> Run:
    losses: list[float] = []
    for _ in range(rule.attempts):
        trace = _record(meter, work, iterations)
        if trace.lost_share <= rule.most_lost:
            codes = phase_codes(trace, wiring)
            return Run(
                iterations,
                shares_of(trace, codes),
                trace.lost_share,
                trace.outlier_samples,
                len(losses),
                trace.voltage_mv,
                trace.supply,
                excerpt(trace, codes, told_by(trace, wiring)),
            )
        losses.append(trace.lost_share)
        told(f"refused: {trace.lost_share:.2%} of its samples were lost, {rule.most_lost:.2%} may be")
    listed = ", ".join(f"{loss:.2%}" for loss in losses)
    raise InfrastructureError(
        f"{meter.instrument.identity}: too many samples lost in each of {rule.attempts} attempts ({listed}; at most "
        f"{rule.most_lost:.2%} may be): plug it into a port of its own, without a hub, and let this computer do less"
    )


def _record(meter: Meter, work: Work, iterations: int) -> Trace:
    meter.start()
    work(meter, iterations)
    return meter.stop()


def _shares(trace: Trace, wiring: Wiring, phases: tuple[Phase, ...]) -> Mapping[Phase, Share]:
    shares = split(trace, wiring)
    if "compute" in phases and shares["compute"].seconds == 0:
        where = (
            f"on logic channel D{wiring.marker}" if wiring.marker is not None and trace.logic is not None else "told"
        )
        raise InfrastructureError(
            f"{trace.instrument.identity}: the board computed, but no marker was seen {where}: connect the board's "
            "marker pin (README, consoles and marker pins) to it, and the meter's logic VCC and GND to the board's"
        )
    return shares


def _window_s(shares: Mapping[Phase, Share], phases: tuple[Phase, ...]) -> float:
    return sum(shares[phase].seconds for phase in phases)
