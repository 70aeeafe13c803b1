"""The ladder by which a board comes back: resync, reset, flash, power-cycle; the gentlest rung that helps."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Protocol

from bench.errors import DeviceError, InfrastructureError


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


def climb(board: Recoverable, cancelled: threading.Event | None = None) -> str:
    """Tries each rung once and returns the name of the one after which the board is as it should be.

    Raises InfrastructureError, naming what each rung said, when none helps.
    """
    tried = []
    for name, rung in board.rungs(cancelled):
        board.log(f"recovery: {name}")
        try:
            rung()
            board.check(cancelled)
        except (InfrastructureError, DeviceError) as error:
            board.log(f"recovery: {name} does not help: {error}")
            tried.append(f"{name}: {error}")
            board.close()  # a line that vanished with the board is opened anew by the next rung
        else:
            board.log(f"recovered by {name}")
            return name
    raise InfrastructureError(f"board {board.name} does not come back: " + "; ".join(tried))
