"""A virtual Nordic Power Profiler Kit II: its commands, its calibration, its ranges and its four bytes a sample.

A sample is a little-endian word: 14 bits of the converter, 3 of the range at bit 14, 6 of a counter at 18, 8 logic
levels at 24. In range r the host computes, with the calibration that the kit has told it,

    x  = (4 · code − O[r]) · 1.8 / 163840 / R[r]
    I  = UG[r] · (x · (GS[r] · x + GI[r]) + S[r] · supply + I[r])          [A; supply in volt]

and the kit is made here by solving this for the code.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from bench.virtual.instruments.feeds import Feed
from bench.virtual.instruments.instrument import Instrument
from bench.virtual.instruments.spec import Faults
from bench.virtual.loop import Loop

RATE_HZ: Final = 100_000.0
_ADC_UNIT: Final = 1.8 / 163840
_CODES: Final = 1 << 14
_UP_A: Final = np.array([50e-6, 500e-6, 5e-3, 60e-3])
"""Above these the kit switches from range 0, 1, 2, 3 to the next."""
_DOWN: Final = 0.9  # of the same limits: below, it switches back

# Arguments that follow each command; commands that are not listed have none.
_ARGUMENTS: Final = {0x01: 4, 0x02: 1, 0x03: 2, 0x04: 2, 0x08: 1, 0x09: 1, 0x0C: 1, 0x0D: 2, 0x0E: 2, 0x0F: 2, 0x11: 1}
_ARGUMENTS_OF_GAINS: Final = {0x12: 12, 0x25: 5}


@dataclass(frozen=True)
class Calibration:
    """Of the five ranges: ohms, offsets in converter units of four, gains, and what the supply adds."""

    r: tuple[float, ...] = (1031.64, 101.65, 10.15, 0.94, 0.043)
    gs: tuple[float, ...] = (1.0, 112.0, 18.0, 2.4, 0.07)
    gi: tuple[float, ...] = (1.0, 0.969, 0.961, 0.952, 0.958)
    o: tuple[float, ...] = (112.9, 75.5, 64.6, 50.5, 89.3)
    s: tuple[float, ...] = (4.8e-8, 5.96e-7, 5.281e-6, 6.2577e-5, 2.940743e-3)
    i: tuple[float, ...] = (-1.04e-7, -1.443e-6, -1.2e-5, -1.4e-4, -9.388e-3)
    ug: tuple[float, ...] = (1.0, 1.0, 1.0, 1.0, 1.0)

    def text(self) -> str:
        """The block that answers the request for metadata."""
        values = {"R": self.r, "GS": self.gs, "GI": self.gi, "O": self.o, "S": self.s, "I": self.i, "UG": self.ug}
        lines = ["Calibrated: 1"]
        lines += [f"{name}{index}: {value:.9f}" for name, of in values.items() for index, value in enumerate(of)]
        return "\n".join([*lines, "VDD: 3300", "HW: 9173", "mode: 2", "IA: 56", "END"])

    def codes(self, current_a: NDArray[np.float64], ranges: NDArray[np.intp], supply_v: float) -> NDArray[np.uint32]:
        """What the converter gives for a current in each range, rounded and limited as it is."""
        r, gs, gi, o, s, i, ug = (np.array(values)[ranges] for values in vars(self).values())
        constant = s * supply_v + i - current_a / ug
        # The smaller root of gs·x² + gi·x + constant, in a form that bears gs of nearly nothing.
        x = -2 * constant / (gi + np.sqrt(np.maximum(gi * gi - 4 * gs * constant, 0.0)))
        codes: NDArray[np.uint32] = np.clip(np.rint((x * r / _ADC_UNIT + o) / 4), 0, _CODES - 1).astype(np.uint32)
        return codes


class VirtualPpk2(Instrument):
    """Behaves as the kit does on its USB serial port."""

    def __init__(self, loop: Loop, folder: Path, feed: Feed, faults: Faults) -> None:
        super().__init__(loop, folder, feed, faults, RATE_HZ)
        self.calibration = Calibration()
        self.supply_mv = 3300
        self.mode: Literal["source", "ampere"] = "source"
        self.powered = False
        self._command = bytearray()
        self._range = 0
        self._calls: dict[int, Callable[[bytes], None]] = {
            0x06: lambda _arguments: self.begin(),
            0x07: lambda _arguments: self.end(),
            0x0C: self._power,
            0x0D: self._regulate,
            0x11: self._choose_mode,
            0x19: lambda _arguments: self.terminal.send(self.calibration.text().encode("ascii")),
            0x20: lambda _arguments: self._reset(),
        }

    def hear(self, data: bytes) -> None:
        """Carries out commands as they become complete; those that only move triggers or the display do nothing."""
        self._command += data
        while self._command:
            code = self._command[0]
            length = 1 + _ARGUMENTS.get(code, _ARGUMENTS_OF_GAINS.get(code, 0))
            if len(self._command) < length:
                return
            arguments = bytes(self._command[1:length])
            del self._command[:length]
            if code in self._calls:
                self._calls[code](arguments)

    def encode(self, current_ua: NDArray[np.float64], logic: NDArray[np.uint8], sent: NDArray[np.bool_]) -> bytes:
        """See Instrument."""
        current = current_ua * 1e-6 if self.powered else np.zeros_like(current_ua)  # the switch is open in both modes
        ranges = self._ranges(current)
        codes = self.calibration.codes(current, ranges, self.supply_mv / 1000)
        counter = (np.arange(self.taken, self.taken + len(current)) & 63).astype(np.uint32)
        words = codes | ranges.astype(np.uint32) << 14 | counter << 18 | logic.astype(np.uint32) << 24
        return words[sent].astype("<u4").tobytes()

    def _ranges(self, current: NDArray[np.float64]) -> NDArray[np.intp]:
        """Up at once above a range's limit, down only well below it."""
        lowest = np.searchsorted(_UP_A, current)
        highest = np.searchsorted(_UP_A * _DOWN, current)
        # Between the two limits it stays where it was when that was last decided.
        decided = np.concatenate(([0], np.where(lowest == highest, np.arange(1, len(current) + 1), 0)))
        before = np.concatenate(([self._range], lowest))[np.maximum.accumulate(decided)][1:]
        ranges: NDArray[np.intp] = np.clip(before, lowest, highest)
        self._range = int(ranges[-1])
        return ranges

    def _power(self, arguments: bytes) -> None:
        self.powered = arguments[0] == 1

    def _regulate(self, arguments: bytes) -> None:
        self.supply_mv = int.from_bytes(arguments, "big")

    def _choose_mode(self, arguments: bytes) -> None:
        self.mode = "source" if arguments[0] == 2 else "ampere"

    def _reset(self) -> None:
        self.end()
        self.terminal.forget()
        self.powered = False
