"""How long and how often is measured, on an instrument whose board does exactly what it is told."""

from __future__ import annotations

import numpy as np
import pytest

from bench.errors import InfrastructureError
from bench.meters.rule import QUICK, Rule, measure
from bench.meters.split import Wiring
from bench.meters.trace import Instrument, Mark, Phase, Trace

RATE_HZ = 10_000.0
RUN_UA, SLEEP_UA = 10_000.0, 100.0
STEP_S = 0.002
UNWIRED = Wiring(marker=None)


class Instrumented:
    """Carries out `Meter`, without logic channels: what the board did since start() is the recording."""

    instrument = Instrument("lpm01a", "an LPM01A", physical=False)
    has_logic = False

    def __init__(self, around_s: float = 0.0) -> None:
        """`around_s`: what a request and its reply take, once a run."""
        self.around_s = around_s
        self.recordings = 0

    def arm(self) -> None: ...

    def start(self) -> None:
        self._samples: list[np.ndarray] = []
        self._marks: list[Mark] = []

    def mark(self, phase: Phase) -> None:
        self._marks.append(Mark(sum(map(len, self._samples)), phase))

    def draw(self, seconds: float, current_ua: float) -> None:
        self._samples.append(np.full(round(seconds * RATE_HZ), current_ua))

    def wait(self, seconds: float, timeout_s: float) -> None: ...

    def stop(self) -> Trace:
        self.recordings += 1
        current = np.concatenate(self._samples)
        return Trace(self.instrument, 3000, "meter", RATE_HZ, current, marks=tuple(self._marks))

    def close(self) -> None: ...


def steps(meter: Instrumented, count: int, step_s: float = STEP_S) -> None:
    meter.mark("compute")
    meter.draw(meter.around_s, RUN_UA)
    meter.draw(count * step_s, RUN_UA)
    meter.mark("idle")
    meter.draw(0.01, SLEEP_UA)


def test_a_window_is_filled_though_a_request_takes_longer_than_many_steps() -> None:
    # 20 ms of request and reply: a look of one step seems to say that 24 steps fill half a second; it takes 250.
    meter = Instrumented(around_s=0.02)
    figure = measure(meter, steps, QUICK, UNWIRED, ("compute",))  # type: ignore[arg-type]
    [run] = figure.runs
    assert run.shares["compute"].seconds >= QUICK.window_s
    assert 240 <= run.iterations <= 300
    # 2 ms of 10 mA at 3 V are 60 µJ; the request's share of a window of half a second is 4 %.
    assert figure.energy_uj == pytest.approx(60.0, rel=0.045)


def test_later_runs_keep_the_iterations_that_filled_the_window() -> None:
    meter = Instrumented(around_s=0.02)
    rule = Rule(window_s=0.5, iterations=1, runs=3)
    figure = measure(meter, steps, rule, UNWIRED, ("compute",))  # type: ignore[arg-type]
    assert len({run.iterations for run in figure.runs}) == 1
    assert all(run.shares["compute"].seconds >= rule.window_s for run in figure.runs)


@pytest.mark.parametrize("whole", [0, 1], ids=["from the first look on", "after the look"])
def test_a_board_that_does_not_do_what_it_is_told_is_told(whole: int) -> None:
    def lazy(meter: Instrumented, count: int) -> None:
        if meter.recordings < whole:
            steps(meter, count, 4 * STEP_S)
        else:
            steps(meter, 1)

    with pytest.raises(InfrastructureError, match=r"the recording is not whole, or the board was disturbed"):
        measure(Instrumented(), lazy, QUICK, UNWIRED, ("compute",))  # type: ignore[arg-type]


def test_a_recording_that_ends_early_is_told_before_the_board_has_worked_for_hours() -> None:
    asked = []

    def cut(meter: Instrumented, count: int) -> None:
        asked.append(count)
        steps(meter, min(count, 100))

    told: list[str] = []
    with pytest.raises(InfrastructureError, match=r"took 0\.200 s, .* the recording is not whole"):
        measure(Instrumented(), cut, QUICK, UNWIRED, ("compute",), told.append)  # type: ignore[arg-type]
    assert max(asked) < 1000, "the window was to take 250"
    assert told == ["255 iterations took 0.200 of 0.5 s: once more with 670"]
