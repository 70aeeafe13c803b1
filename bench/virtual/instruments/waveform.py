"""From stretches of constant current to samples, so that no charge is lost: a sample is the mean over its interval."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from bench.virtual.instruments.spec import Stretch

MARKER, TRANSMIT, RECEIVE = 0, 1, 2
"""Logic channels: the marker pin, the console's TX and RX."""
_PHASES = {"idle": "idle", "receive": "link", "send": "link", "compute": "compute"}
_LOW_OF_CHARACTER = 0.9  # a start bit and eight zeros, then the stop bit


def _nothing() -> dict[str, float]:
    return {"compute": 0.0, "link": 0.0, "idle": 0.0}


@dataclass
class Truth:
    """What was rendered, by phase, exactly: seconds and µC. `dropped_samples` is what faults took of it."""

    seconds: dict[str, float] = field(default_factory=_nothing)
    charge_uc: dict[str, float] = field(default_factory=_nothing)
    samples: int = 0
    dropped_samples: int = 0


class Waveform:
    """Samples of one recording, in order."""

    def __init__(self, rate_hz: float, character_s: float) -> None:
        """`character_s` is how long a character takes on the console's line."""
        self._step = 1 / rate_hz
        self._character_s = character_s
        self._waiting: deque[Stretch] = deque()
        self._begun_s = 0.0  # of the sample that is not complete yet
        self._begun_uc = 0.0
        self.truth = Truth()

    def add(self, stretches: list[Stretch]) -> None:
        """What the board did next."""
        self._waiting.extend(stretch for stretch in stretches if stretch.seconds > 0)

    @property
    def waiting(self) -> bool:
        """Whether there is something to render."""
        return bool(self._waiting)

    def render(self, most: int) -> tuple[NDArray[np.float64], NDArray[np.uint8]]:
        """The next samples, `most` at most: current in µA and logic channels. None while less than one is known."""
        chosen, left = [], most * self._step - self._begun_s
        while self._waiting and left > 0:
            stretch = self._waiting.popleft()
            taken = min(stretch.seconds, left)
            if taken < stretch.seconds:
                self._waiting.appendleft(Stretch(stretch.seconds - taken, stretch.current_ua, stretch.does))
            chosen.append(Stretch(taken, stretch.current_ua, stretch.does))
            left -= taken
        for stretch in chosen:
            phase = _PHASES[stretch.does]
            self.truth.seconds[phase] += stretch.seconds
            self.truth.charge_uc[phase] += stretch.seconds * stretch.current_ua
        return self._sample(chosen)

    def _sample(self, chosen: list[Stretch]) -> tuple[NDArray[np.float64], NDArray[np.uint8]]:
        seconds = np.array([0.0, self._begun_s, *(stretch.seconds for stretch in chosen)])
        charge = np.array([0.0, self._begun_uc, *(stretch.seconds * stretch.current_ua for stretch in chosen)])
        edges, charges = np.cumsum(seconds), np.cumsum(charge)
        count = int(edges[-1] / self._step + 1e-6)
        if count == 0:
            self._begun_s, self._begun_uc = float(edges[-1]), float(charges[-1])
            return np.empty(0), np.empty(0, dtype=np.uint8)
        ends = np.arange(1, count + 1) * self._step
        at_ends = np.interp(ends, edges, charges)
        current = np.diff(at_ends, prepend=0.0) / self._step
        self._begun_s = max(0.0, float(edges[-1] - ends[-1]))
        self._begun_uc = max(0.0, float(charges[-1] - at_ends[-1]))
        # Of the stretches, edges[1:] are the begins; the logic is that of the interval's end.
        which = np.clip(np.searchsorted(edges[1:], ends, side="left") - 1, 0, len(chosen) - 1)
        self.truth.samples += count
        return current, self._logic(chosen, which, ends - edges[which + 1])

    def _logic(self, chosen: list[Stretch], which: NDArray[np.intp], into: NDArray[np.float64]) -> NDArray[np.uint8]:
        compute, send, receive = (
            np.array([stretch.does == what for stretch in chosen])[which] for what in ("compute", "send", "receive")
        )
        low = (into / self._character_s) % 1.0 < _LOW_OF_CHARACTER
        levels = compute << MARKER | ~(send & low) << TRANSMIT | ~(receive & low) << RECEIVE
        return levels.astype(np.uint8)
