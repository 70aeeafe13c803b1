"""The ladder by which a board comes back: resync, reset, flash, power-cycle; the gentlest rung that helps.

Each rung is tried once, and ends by itself: what it waits for has a deadline. A board that none brings back is in
quarantine: the bench leaves it alone for the rest of its run.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol

from bench.errors import DeviceError, InfrastructureError

QUARANTINE = "quarantine"
"""The rung of a board that did not come back."""


@dataclass(frozen=True)
class Tried:
    """A rung that did not help: what it said, and how long it took."""

    rung: str
    error: str
    seconds: float


@dataclass(frozen=True)
class Recovery:
    """How a board came back, or that it did not: `rung`. `reason` is what had happened to it; `check_s`, of `seconds`,
    are the last: the check that it passed."""

    board: str
    rung: str
    reason: str
    seconds: float
    tried: Sequence[Tried] = ()
    check_s: float = 0.0

    def document(self) -> dict[str, Any]:
        """For journal and results."""
        return {
            "board": self.board,
            "rung": self.rung,
            "reason": self.reason,
            "seconds": round(self.seconds, 3),
            "tried": [asdict(tried) for tried in self.tried],
        }


class Recoverable(Protocol):
    """What the ladder needs of a board; each rung raises InfrastructureError or DeviceError when it does not help."""

    name: str

    def log(self, line: str, /) -> None:
        """Into the board's log."""
        ...

    def rungs(self, cancelled: threading.Event | None) -> list[tuple[str, Callable[[], object]]]:
        """Name and action of each rung, in order."""
        ...

    def check(self, cancelled: threading.Event | None) -> None:
        """Raises DeviceError unless the board runs what was flashed last and its data is whole."""
        ...

    def close(self) -> None:
        """Closes the line."""
        ...


def climb(board: Recoverable, reason: str = "", cancelled: threading.Event | None = None) -> Recovery:
    """Tries each rung once, until the board is as it should be; `rung` is QUARANTINE when none helps."""
    tried: list[Tried] = []
    begun = time.monotonic()
    for name, rung in board.rungs(cancelled):
        board.log(f"recovery: {name}")
        started = time.monotonic()
        try:
            rung()
            checked = time.monotonic()
            board.check(cancelled)
        except (InfrastructureError, DeviceError) as error:
            board.log(f"recovery: {name} does not help: {error}")
            tried.append(Tried(name, str(error), round(time.monotonic() - started, 3)))
            board.close()  # a line that vanished with the board is opened anew by the next rung
        else:
            now = time.monotonic()
            board.log(f"recovered by {name} in {now - begun:.1f} s")
            return Recovery(board.name, name, reason, now - begun, tuple(tried), now - checked)
    board.log("recovery: no rung helps; the board is left alone")
    return Recovery(board.name, QUARANTINE, reason, time.monotonic() - begun, tuple(tried))
