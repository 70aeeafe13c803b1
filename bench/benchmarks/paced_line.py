"""A serial line that takes the time of a real one: pseudo-terminal to pseudo-terminal, byte by byte at a baud rate."""

from __future__ import annotations

import os
import select
import threading
import time
import tty
from pathlib import Path
from typing import Self

_BITS_PER_BYTE = 10  # start, eight of data, stop
_BUFFER = 4096  # what a driver takes before a writer has to wait
_LEAST_WAIT_S = 0.001  # a USB adapter hands bytes on in frames of so long


class _Direction:
    """One way: when each of its bytes is through."""

    def __init__(self, source: int, sink: int, baud: int) -> None:
        self.source, self.sink = source, sink
        self._byte_s = _BITS_PER_BYTE / baud
        self._queue = bytearray()
        self._begun = 0.0  # when the first byte of the queue began

    @property
    def room(self) -> bool:
        return len(self._queue) < _BUFFER

    def take(self, now: float) -> None:
        """Bytes that the source's end has sent follow those on the line."""
        data = os.read(self.source, _BUFFER)
        if not self._queue:
            self._begun = now
        self._queue += data

    def deliver(self, now: float) -> None:
        """What is through by now reaches the other end."""
        through = min(len(self._queue), int((now - self._begun) / self._byte_s))
        if through:
            sent = os.write(self.sink, self._queue[:through])
            del self._queue[:sent]
            self._begun += sent * self._byte_s

    def wait_s(self, now: float) -> float | None:
        """Until the next byte is through; None when the line rests."""
        return max(0.0, self._begun + self._byte_s - now) if self._queue else None


class PacedLine:
    """`path` is a terminal for the host; at the other end is `line`, a board's. Both ways at once, as on two wires."""

    def __init__(self, line: str, baud: int) -> None:
        self._board = os.open(line, os.O_RDWR | os.O_NOCTTY)
        tty.setraw(self._board)
        self._master, self._slave = os.openpty()
        tty.setraw(self._slave)
        self.path = os.ttyname(self._slave)
        self._ways = (_Direction(self._master, self._board, baud), _Direction(self._board, self._master, baud))
        self._stop, self._wake = os.pipe()
        self._thread = threading.Thread(
            target=self._carry, name=f"line of {Path(line).parent.parent.name}", daemon=True
        )

    def __enter__(self) -> Self:
        """Begins to carry."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Ends it, and closes both ends."""
        os.write(self._wake, b"x")
        self._thread.join()
        for fd in (self._board, self._master, self._slave, self._stop, self._wake):
            os.close(fd)

    def _carry(self) -> None:
        while True:
            waits = [wait for way in self._ways if (wait := way.wait_s(time.monotonic())) is not None]
            sources = [way.source for way in self._ways if way.room]
            timeout = max(min(waits), _LEAST_WAIT_S) if waits else None
            ready, _, _ = select.select([*sources, self._stop], [], [], timeout)
            if self._stop in ready:
                return
            now = time.monotonic()
            for way in self._ways:
                way.deliver(now)
                if way.source in ready:
                    way.take(now)
