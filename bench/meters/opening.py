"""Opens a meter by its kind."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from bench.meters.meter import Meter, MeterSettings


@contextmanager
def opened(settings: MeterSettings) -> Iterator[Meter]:
    """The instrument, armed, until the block ends.

    Raises ConfigError when its package is not installed, InfrastructureError when it cannot be reached.
    """
    meter = _open(settings)
    try:
        meter.arm()
        yield meter
    finally:
        meter.close()


def _open(settings: MeterSettings) -> Meter:
    # Imported when needed: each instrument's package is optional, and takes its time.
    if settings.kind == "ppk2":
        from bench.meters.ppk2 import Ppk2

        return Ppk2(settings)
    if settings.kind == "lpm01a":
        from bench.meters.lpm01a import Lpm01a

        return Lpm01a(settings)
    from bench.meters.joulescope import Joulescope

    return Joulescope(settings)
