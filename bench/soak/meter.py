"""Meters that freeze in the midst of a recording: to be noticed, never believed, and opened anew."""

from __future__ import annotations

import importlib.util
import random
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime

from bench.errors import InfrastructureError
from bench.meters.meter import MeterSettings
from bench.meters.opening import opened
from bench.meters.trace import Trace
from bench.soak.plan import METER, Planned, Queue
from bench.soak.record import Injected
from bench.virtual.instruments.running import running
from bench.virtual.instruments.spec import Faults, Script, Stretch, VirtualMeterKind

REOPEN = "reopen"
"""The rung of a meter: unplugged, plugged in and opened again."""

_SUPPLY_MV = 3000
_WINDOW_S = 0.3
_SILENCE_S = 1.0
_LATE_S = 15.0
_TOLERANCE = 0.01


class MeterBench:
    """Takes its faults in a thread of its own, when it is told to."""

    def __init__(self, queue: Queue) -> None:
        self._queue = queue
        self._due = threading.Semaphore(0)
        self._over = False
        self.faults: list[Injected] = []
        self.wrong: list[str] = []
        """Figures that were given out and are wrong, and freezes that nobody noticed."""
        self._thread = threading.Thread(target=self._run, name="faults-meter", daemon=True)
        self._thread.start()

    def freeze(self) -> None:
        """One more meter freezes soon."""
        self._due.release()

    def stop(self) -> None:
        """Ends when what is due is done."""
        self._over = True
        self._due.release()
        self._thread.join()

    def take(self) -> tuple[list[Injected], list[str]]:
        """What has come since this was last asked."""
        faults, self.faults = self.faults, []
        wrong, self.wrong = self.wrong, []
        return faults, wrong

    def _run(self) -> None:
        while True:
            self._due.acquire()
            planned = self._queue.take() if not self._over else None
            if planned is None:
                if self._over:
                    return
                continue
            self.faults.append(_frozen(planned, self.wrong.append))


def _frozen(planned: Planned, wrong: Callable[[str], None]) -> Injected:
    draw = random.Random(planned.seed)
    kind: VirtualMeterKind = "ppk2" if importlib.util.find_spec("ppk2_api") and draw.random() < 0.5 else "lpm01a"
    current_ua = draw.uniform(100.0, 20_000.0)
    freezes_s = round(draw.uniform(0.02, _WINDOW_S - 0.1), 3)
    at = datetime.now(UTC).isoformat(timespec="milliseconds")
    begun = time.monotonic()
    found = Injected(planned.number, METER, kind, at, {"after_s": freezes_s, "current_ua": round(current_ua, 1)})
    try:
        _record(kind, current_ua, Faults(freeze_after_s=freezes_s))
        wrong(f"{kind}: frozen after {freezes_s} s of {_WINDOW_S} s, and nobody noticed")
        return found
    except InfrastructureError:
        pass
    try:
        trace = _record(kind, current_ua, Faults())
    except InfrastructureError as error:
        wrong(f"{kind}: does not come back: {error}")
        return found
    mean_ua = float(trace.current_ua.mean())
    if abs(mean_ua - current_ua) > _TOLERANCE * current_ua:
        wrong(f"{kind}: {mean_ua:.1f} µA measured after a freeze, where {current_ua:.1f} flow")
        return found
    return Injected(found.number, METER, kind, at, found.details, REOPEN, round(time.monotonic() - begun, 3))


def _record(kind: VirtualMeterKind, current_ua: float, faults: Faults) -> Trace:
    with running(kind, Script((Stretch(60.0, current_ua),)), faults) as instrument:
        settings = MeterSettings(
            kind, instrument.port, _SUPPLY_MV, "meter", physical=False, clock=None, silence_s=_SILENCE_S
        )
        with opened(settings) as meter:
            meter.start()
            meter.wait(_WINDOW_S, _LATE_S)
            return meter.stop()
