"""The serial line: a pseudo-terminal that lives as long as the board, whatever runs on it or listens to it."""

from __future__ import annotations

import contextlib
import fcntl
import mmap
import os
import struct
import termios
import tty
from collections.abc import Callable
from pathlib import Path

from bench.virtual.loop import Loop, Timer

TRAFFIC = struct.Struct("<QQ")
"""The file beside a serial line: bytes that it has carried to the board, and to the host."""

_CHUNK = 4096
_QUEUE_LIMIT = 64 << 10
_PATIENCE_S = 1.0  # what nobody has taken for so long is lost, as on a line with no one at its end


class Outlet:
    """Bytes towards a file descriptor that may not take them now: kept for a while, bounded, then lost."""

    def __init__(self, loop: Loop, fd: int, on_backlog: Callable[[bool], None] = lambda _full: None) -> None:
        self._loop = loop
        self._fd = fd
        self._queue = bytearray()
        self._patience: Timer | None = None
        self._on_backlog = on_backlog
        self._backlog = False
        self.lost = 0

    def send(self, data: bytes) -> None:
        """Passes bytes on, at once if possible."""
        if not self._queue:
            data = data[self._write(data) :]
        if not data:
            return
        room = max(0, _QUEUE_LIMIT - len(self._queue))
        self.lost += max(0, len(data) - room)
        self._queue += data[:room]
        if self._patience is None:
            self._loop.on_writable(self._fd, self._drain)
            self._restart_patience()
        self._tell()

    def close(self) -> None:
        """Forgets what is waiting; the descriptor is the caller's to close."""
        self._clear()
        self._loop.forget(self._fd)

    def _write(self, data: bytes) -> int:
        try:
            return os.write(self._fd, data)
        except BlockingIOError:
            return 0
        except OSError:  # the other end is gone
            return len(data)

    def _drain(self) -> None:
        sent = self._write(bytes(self._queue[:_CHUNK]))
        del self._queue[:sent]
        if not self._queue:
            self._clear()
        elif sent:
            self._restart_patience()
        self._tell()

    def _restart_patience(self) -> None:
        if self._patience is not None:
            self._patience.cancel()
        self._patience = self._loop.call_later(_PATIENCE_S, self._give_up)

    def _give_up(self) -> None:
        self.lost += len(self._queue)
        self._clear()
        self._tell()

    def _clear(self) -> None:
        self._queue.clear()
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None
            self._loop.on_writable(self._fd, None)

    def _tell(self) -> None:
        backlog = bool(self._queue)
        if backlog != self._backlog:
            self._backlog = backlog
            self._on_backlog(backlog)


class Wire:
    """Both directions between the host's terminal and the board's UART.

    This one passes bytes on as they come. A wire that delays, paces, corrupts or loses them overrides the two methods
    and uses the loop's timers; nothing else knows what the wire does.
    """

    def __init__(self, loop: Loop) -> None:
        self.loop = loop
        self.board: Callable[[bytes], None] = lambda _data: None  # the UART's receiver; nobody while the board is off
        self.host: Callable[[bytes], None] = lambda _data: None  # the terminal

    def to_board(self, data: bytes) -> None:
        """Bytes that the host has sent."""
        self.board(data)

    def to_host(self, data: bytes) -> None:
        """Bytes that the board has sent."""
        self.host(data)


class SerialLine:
    """A raw pseudo-terminal; `path` is a symbolic link to it that does not change. A file beside it, traffic_file(),
    counts its bytes, for a virtual meter to follow."""

    def __init__(self, loop: Loop, wire: Wire, path: Path) -> None:
        self.path = path
        self._loop = loop
        self._wire = wire
        self._carried = [0, 0]
        with traffic_file(path).open("w+b") as file:
            file.truncate(TRAFFIC.size)
            self._traffic = mmap.mmap(file.fileno(), TRAFFIC.size)
        self._listening = True
        self._plugged = False
        self.plug_in()

    def plug_in(self) -> None:
        """Makes a terminal, and the link to it."""
        if self._plugged:
            return
        # The slave stays open here: otherwise reads of the master fail whenever no host program has it open, and the
        # line's settings are lost with each that closes it.
        self._master, self._slave = os.openpty()
        tty.setraw(self._slave, termios.TCSANOW)
        os.set_blocking(self._master, False)
        # Programs that took the terminal exclusively and were killed must not lock the next one out.
        with contextlib.suppress(OSError):
            fcntl.ioctl(self._slave, termios.TIOCNXCL)
        temporary = self.path.with_suffix(".new")
        temporary.unlink(missing_ok=True)
        temporary.symlink_to(os.ttyname(self._slave))
        temporary.replace(self.path)
        self._outlet = Outlet(self._loop, self._master)
        self._plugged = True
        self._wire.host = self._send
        self.listen(self._listening)

    def unplug(self) -> None:
        """Link and terminal are gone; whoever has it open is told, and what is sent meanwhile is lost."""
        if not self._plugged:
            return
        self._plugged = False
        self._wire.host = lambda _data: None
        self.path.unlink(missing_ok=True)
        self._outlet.close()
        self._loop.forget(self._master)
        os.close(self._master)
        os.close(self._slave)

    def listen(self, listening: bool) -> None:
        """Whether bytes are taken from the host; when not, they wait in the terminal, and then in the host."""
        self._listening = listening
        if self._plugged:
            self._loop.on_readable(self._master, self._receive if listening else None)

    def close(self) -> None:
        """Removes the link and the terminal."""
        self.unplug()
        self._traffic.close()
        traffic_file(self.path).unlink(missing_ok=True)

    def _send(self, data: bytes) -> None:
        self._count(1, len(data))
        self._outlet.send(data)

    def _count(self, direction: int, size: int) -> None:
        self._carried[direction] += size
        TRAFFIC.pack_into(self._traffic, 0, *self._carried)

    def _receive(self) -> None:
        try:
            data = os.read(self._master, _CHUNK)
        except BlockingIOError:
            return
        self._count(0, len(data))
        self._wire.to_board(data)


def traffic_file(line: Path) -> Path:
    """Where a serial line counts its bytes."""
    return line.with_suffix(".traffic")
