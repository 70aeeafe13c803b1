"""An emulated meter with a script, opened as the bench opens a real one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from bench.meters.meter import Meter, MeterKind, MeterSettings
from bench.meters.opening import opened
from bench.meters.split import Wiring
from bench.virtual.instruments.running import RunningInstrument, running
from bench.virtual.instruments.spec import Faults, Script, Stretch

VOLTAGE_MV = 3000
WIRED = Wiring(marker=0, line=(1, 2))


def settings(kind: MeterKind, port: str, **changes: object) -> MeterSettings:
    plain = MeterSettings(kind, port, VOLTAGE_MV, "meter", WIRED, physical=False, clock=None, silence_s=5.0)
    return replace(plain, **changes)  # type: ignore[arg-type]


@contextmanager
def metered(
    kind: MeterKind, *stretches: Stretch, speed: float = 0.0, faults: Faults | None = None, **changes: object
) -> Iterator[tuple[Meter, RunningInstrument]]:
    """Armed. The script is sent as fast as it is taken, unless there is a speed."""
    assert kind != "joulescope"
    with (
        running(kind, Script(stretches, speed), faults) as instrument,
        opened(settings(kind, instrument.port, **changes)) as meter,
    ):
        yield meter, instrument
