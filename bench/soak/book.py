"""What is known of one board, and what that says of a fault that has struck it: when it was over, and what healed it.

Nothing is guessed. A fault is over with the first that shows the board well and began after the strike:

* a whole frame that has come from the board, for a fault of the line, unless the ladder was being climbed then;
* the check that a recovery ends with: its rung has healed it (power that fails in mid-flash strikes within a rung);
* a job that was done: the link has healed it, by itself;
* what a run that is resumed does to have its boards as they are to be.

All times are of the computer's monotonic clock, which a virtual board's process shares.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from bench.rack.recovery import QUARANTINE, Recovery
from bench.soak.record import LINK


@dataclass(frozen=True)
class Ended:
    """When a fault was over, and by what rung; "" where the board was given up."""

    at: float
    rung: str


@dataclass(frozen=True)
class _Climbed:
    began: float
    checked: float  # when the check began that it passed
    ended: float
    rung: str


class BoardBook:
    """Of one leg. Written by whoever works with the board, read by whoever waits for a fault's end."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._changed = threading.Condition()
        self._climbed: list[_Climbed] = []
        self._worked: list[tuple[float, Ended]] = []  # what was done well, and when it began

    def recovered(self, recovery: Recovery) -> None:
        """A recovery has just ended."""
        now = self._clock()
        found = _Climbed(now - recovery.seconds, now - recovery.check_s, now, recovery.rung)
        with self._changed:
            self._climbed.append(found)
            self._changed.notify_all()

    def worked(self, began: float, rung: str = LINK) -> None:
        """A job has just been done that began then, or whatever `rung` is."""
        with self._changed:
            self._worked.append((began, Ended(self._clock(), rung)))
            self._changed.notify_all()

    def climbing(self, at: float) -> bool:
        """Whether a recovery, which has ended since, was under way."""
        with self._changed:
            return any(found.began <= at <= found.ended for found in self._climbed)

    def end_of(self, struck: float) -> Ended | None:
        """Of the fault that struck then; None while nothing shows that it is over."""
        with self._changed:
            ends = [ended for began, ended in self._worked if began >= struck]
            for found in self._climbed:
                if found.rung == QUARANTINE and found.ended >= struck:
                    ends.append(Ended(found.ended, ""))
                elif found.rung != QUARANTINE and found.checked >= struck:
                    ends.append(Ended(found.ended, found.rung))
        return min(ends, key=lambda end: end.at, default=None)

    def wait(self, timeout_s: float) -> None:
        """Until there is something new, or for so long."""
        with self._changed:
            self._changed.wait(timeout_s)
