"""Bytes towards an emulated UART, no faster than on a real line.

QEMU hands the nRF51's UART a byte as soon as the last one was taken. The interrupt handler keeps up with that, but what
reads its ring of 256 bytes does not always, as it would on a line at 115200 baud, where a byte comes every 87 us.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from bench.virtual.loop import Loop, Timer
from bench.virtual.serial_line import Outlet

_TICK_S = 0.001
_MOST = 64  # at once, after a tick that came late: the ring holds four of these
_HELD_LIMIT = 4096  # beyond which the host has to wait


class PacedOutlet(Outlet):
    """An outlet that lets through what a line of so many baud would have carried by now."""

    def __init__(self, loop: Loop, fd: int, on_backlog: Callable[[bool], None], baud: int) -> None:
        super().__init__(loop, fd, on_backlog)
        self._byte_s = 10 / baud
        self._held = bytearray()
        self._since = 0.0
        self._timer: Timer | None = None

    def send(self, data: bytes) -> None:
        """Passes bytes on in their time."""
        self._held += data
        if self._timer is None and self._held:
            self._since = time.monotonic()
            self._timer = self._loop.call_later(_TICK_S, self._tick)
        self._tell()

    def close(self) -> None:
        """See Outlet."""
        self._held.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        super().close()

    def _tick(self) -> None:
        now = time.monotonic()
        due = max(1, min(int((now - self._since) / self._byte_s), _MOST))
        part = bytes(self._held[:due])
        del self._held[:due]
        self._since = now
        super().send(part)
        self._timer = self._loop.call_later(_TICK_S, self._tick) if self._held else None
        self._tell()

    def _tell(self) -> None:
        backlog = bool(self._queue) or len(self._held) > _HELD_LIMIT
        if backlog != self._backlog:
            self._backlog = backlog
            self._on_backlog(backlog)
