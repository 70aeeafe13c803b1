"""The one small interface of all current meters."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, Protocol

from bench.meters.split import Wiring
from bench.meters.trace import Instrument, Phase, SupplyBy, Trace

MeterKind = Literal["ppk2", "lpm01a", "joulescope"]

Clock = Callable[[], float]
"""Seconds of the time in which the instrument takes its samples."""


@dataclass(frozen=True)
class MeterSettings:
    """How a meter is reached and what it does. `port` is a serial port, or a Joulescope's serial number (or empty).

    `wiring` says what its logic inputs are connected to. `clock` tells lost samples that the instrument's own counters
    cannot; None where no clock of the host runs as the instrument's does. After `silence_s` without a sample the
    instrument counts as frozen.
    """

    kind: MeterKind
    port: str
    voltage_mv: int
    supply: SupplyBy
    wiring: Wiring = field(default_factory=Wiring)
    physical: bool = True
    clock: Clock | None = time.monotonic
    silence_s: float = 2.0


class Meter(Protocol):
    """A meter that this process has opened. Every call raises InfrastructureError when the instrument fails."""

    @property
    def instrument(self) -> Instrument: ...

    @property
    def has_logic(self) -> bool:
        """Whether logic channels are sampled with the current."""

    def arm(self) -> None:
        """Sets the instrument up and feeds the board. The board may be reset by it."""

    def start(self) -> None:
        """Records from now on."""

    def mark(self, phase: Phase) -> None:
        """The board is in this phase from now on, as far as the host knows. Instruments that sample a marker pin need
        not be told."""

    def wait(self, seconds: float, timeout_s: float) -> None:
        """Until so many seconds, by the instrument's clock, have been recorded since start()."""

    def stop(self) -> Trace:
        """Ends the recording that start() began."""

    def close(self) -> None:
        """Lets go of the instrument. The board stays fed."""
