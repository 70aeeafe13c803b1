"""Which phase each sample of a trace belongs to: compute, link or idle.

With logic channels, the signals decide, sampled at the same instants as the current: the firmware's marker pin is high
while it trains or evaluates, and the console's lines are low in every character's start bit. What is not wired is known
from the host's marks, which are late by what the wires to board and meter take.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bench.errors import InfrastructureError
from bench.meters.trace import PHASES, Phase, Trace

_CHARACTERS = 3
"""A line that is at rest for longer than so many characters transfers nothing."""
_BITS_PER_CHARACTER = 10
_STUCK = 0.98


@dataclass(frozen=True)
class Wiring:
    """What the logic channels D0 to D7 are connected to: the marker pin, and the console's lines, if they are; its baud
    rate."""

    marker: int | None = 0
    line: tuple[int, ...] = ()
    baud: int = 115200


@dataclass(frozen=True)
class Share:
    """What a phase took of a trace."""

    energy_uj: float
    seconds: float


def split(trace: Trace, wiring: Wiring) -> dict[Phase, Share]:
    """Energy and time by phase; together they are the trace's.

    Raises InfrastructureError: a console's line that is low nearly always is not connected, or to something else.
    """
    return shares_of(trace, phase_codes(trace, wiring))


def shares_of(trace: Trace, codes: NDArray[np.uint8]) -> dict[Phase, Share]:
    """The same, where the samples' phases are known."""
    found: dict[Phase, Share] = {}
    for code, phase in enumerate(PHASES):
        chosen = codes == code
        found[phase] = Share(trace.energy_uj(chosen), int(np.count_nonzero(chosen)) / trace.rate_hz)
    return found


def told_by(trace: Trace, wiring: Wiring) -> str:
    """Who says when the board computes."""
    return "the host's marks" if trace.logic is None or wiring.marker is None else "the marker pin"


def phase_codes(trace: Trace, wiring: Wiring) -> NDArray[np.uint8]:
    """For each sample, the place of its phase in PHASES."""
    if trace.logic is None or wiring.marker is None:
        return _by_marks(trace)
    codes = np.full(trace.samples, PHASES.index("idle"), dtype=np.uint8) if wiring.line else _by_marks(trace)
    if wiring.line:
        codes[_line_active(trace, trace.logic, wiring)] = PHASES.index("link")
    codes[(trace.logic >> wiring.marker & 1).astype(bool)] = PHASES.index("compute")
    return _edges_to_the_busy(codes)


def _edges_to_the_busy(codes: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A sample at the edge of a pause was taken while the phase changed: a thousandth of the pause's samples at the run
    current would double what the pause seems to take."""
    idle = PHASES.index("idle")
    for neighbour, own in ((codes[:-1].copy(), codes[1:]), (codes[1:].copy(), codes[:-1])):
        edge = (own == idle) & (neighbour != idle)
        own[edge] = neighbour[edge]
    return codes


def _by_marks(trace: Trace) -> NDArray[np.uint8]:
    codes = np.full(trace.samples, PHASES.index("idle"), dtype=np.uint8)
    for mark in trace.marks:
        codes[mark.at :] = PHASES.index(mark.phase)
    return codes


def _line_active(trace: Trace, logic: NDArray[np.uint8], wiring: Wiring) -> NDArray[np.bool_]:
    """From the first low sample of a transfer to its last, and its stop bit; short pauses in it included."""
    active = np.zeros(trace.samples, dtype=bool)
    for channel in wiring.line:
        low = (logic >> channel & 1) == 0
        if trace.samples and np.count_nonzero(low) > _STUCK * trace.samples:
            raise InfrastructureError(
                f"{trace.instrument.identity}: logic channel D{channel} was low all the time, but a serial line is "
                "high at rest: check that it is on the console's TX or RX and that the meter's logic VCC and GND are "
                "connected, or leave it out of `line`"
            )
        active |= low
    places = np.flatnonzero(active)
    if not len(places):
        return active
    pause = max(_CHARACTERS * _BITS_PER_CHARACTER / wiring.baud * trace.rate_hz, 2.0)
    apart = np.flatnonzero(np.diff(places) > pause)
    stop_bit = int(np.ceil(trace.rate_hz / wiring.baud))
    begins = places[np.r_[0, apart + 1]]
    ends = np.minimum(places[np.r_[apart, len(places) - 1]] + 1 + stop_bit, trace.samples)
    change = np.zeros(trace.samples + 1, dtype=np.int32)
    change[begins] += 1
    change[ends] -= 1
    return np.cumsum(change[:-1]) > 0
