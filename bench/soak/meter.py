"""Meters that freeze in the midst of a recording: to be noticed, never believed, and opened anew."""

from __future__ import annotations

import importlib.util
import queue
import random
import threading
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from types import TracebackType
from typing import Self

from bench.errors import InfrastructureError
from bench.meters.meter import MeterSettings
from bench.meters.opening import opened
from bench.meters.trace import Trace
from bench.soak.plan import METER, Planned
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
    """Meters freeze in a thread of its own, one after the other, within its block. What is not taken when the block is
    left is to be injected again."""

    def __init__(self, plan: Sequence[Planned]) -> None:
        """`plan`: in order."""
        self._left = list(plan)
        self._count = len(plan)
        self._due: queue.SimpleQueue[Planned | None] = queue.SimpleQueue()
        self._given_up = threading.Event()
        self._lock = threading.Lock()
        self._faults: list[Injected] = []
        self._wrong: list[str] = []  # figures that were given out and are wrong, and freezes that nobody noticed
        self._thread = threading.Thread(target=self._run, name="faults-meter", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._given_up.set()
        self._due.put(None)
        self._thread.join()

    def freeze(self, share: float) -> None:
        """So many of all are to have frozen soon: a share from 0 to 1."""
        with self._lock:
            while self._left and self._count - len(self._left) < round(share * self._count):
                self._due.put(self._left.pop(0))

    def finish(self) -> None:
        """All freeze, and this returns when they have."""
        self.freeze(1.0)
        self._due.put(None)
        self._thread.join()

    def take(self) -> tuple[list[Injected], list[str]]:
        """What has come since this was last asked: faults, and what was wrong."""
        with self._lock:
            faults, self._faults = self._faults, []
            wrong, self._wrong = self._wrong, []
        return faults, wrong

    def _run(self) -> None:
        while (planned := self._due.get()) is not None and not self._given_up.is_set():
            wrong: list[str] = []
            fault = _frozen(planned, wrong.append)
            with self._lock:
                self._faults.append(fault)
                self._wrong += wrong


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
