"""A virtual instrument's end of its USB port: a raw pseudo-terminal that loses nothing."""

from __future__ import annotations

import contextlib
import fcntl
import os
import termios
import tty
from collections.abc import Callable
from pathlib import Path

from bench.virtual.loop import Loop

_CHUNK = 4096


class Terminal:
    """`path` is a symbolic link to it. What the host does not take yet waits: losses are the instrument's to make."""

    def __init__(self, loop: Loop, path: Path, received: Callable[[bytes], None], drained: Callable[[], None]) -> None:
        """`received` is given what the host sends; `drained` is called when all that was sent has been taken."""
        self.path = path
        self._loop = loop
        self._received = received
        self._drained = drained
        self._waiting = bytearray()
        # The slave stays open here, so that the line and its settings outlive the host programs that use it.
        self._master, self._slave = os.openpty()
        tty.setraw(self._slave, termios.TCSANOW)
        os.set_blocking(self._master, False)
        with contextlib.suppress(OSError):
            fcntl.ioctl(self._slave, termios.TIOCNXCL)
        temporary = path.with_suffix(".new")
        temporary.unlink(missing_ok=True)
        temporary.symlink_to(os.ttyname(self._slave))
        temporary.replace(path)
        loop.on_readable(self._master, self._receive)

    @property
    def idle(self) -> bool:
        """Whether everything that was sent has been taken."""
        return not self._waiting

    def send(self, data: bytes) -> None:
        """Sends as the host takes it."""
        self._waiting += data
        self._write()

    def forget(self) -> None:
        """Drops what was not taken yet."""
        self._waiting.clear()
        self._loop.on_writable(self._master, None)

    def close(self) -> None:
        """Removes the link and the terminal: the host sees the instrument unplugged."""
        self.path.unlink(missing_ok=True)
        self._loop.forget(self._master)
        os.close(self._master)
        os.close(self._slave)

    def _write(self) -> None:
        while self._waiting:
            try:
                sent = os.write(self._master, bytes(self._waiting[:_CHUNK]))
            except BlockingIOError:
                self._loop.on_writable(self._master, self._resume)
                return
            del self._waiting[:sent]

    def _resume(self) -> None:
        self._loop.on_writable(self._master, None)
        self._write()
        if not self._waiting:
            self._drained()

    def _receive(self) -> None:
        try:
            data = os.read(self._master, _CHUNK)
        except BlockingIOError:
            return
        self._received(data)
