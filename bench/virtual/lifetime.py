"""Lifetimes of processes and who holds what: nothing that the bench starts outlives it."""

from __future__ import annotations

import ctypes
import fcntl
import os
import resource
import signal
import socket
from collections.abc import Callable
from pathlib import Path
from typing import IO

from bench.errors import InfrastructureError
from bench.virtual.loop import Loop

_PR_SET_PDEATHSIG = 1
_PARENT_GONE = signal.SIGUSR2
_libc = ctypes.CDLL(None, use_errno=True)


def signal_on_parent_death(number: int) -> None:
    """Asks the kernel to signal this process when the *thread* that started it ends."""
    if _libc.prctl(_PR_SET_PDEATHSIG, number, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG)")


def dies_with(parent: int) -> Callable[[], None]:
    """For Popen's preexec_fn: the child is killed when `parent`, whose main thread starts it, is gone. No core dump."""

    def prepare() -> None:
        signal_on_parent_death(signal.SIGKILL)
        if os.getppid() != parent:  # it was gone before the kernel was asked
            os._exit(1)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))

    return prepare


def watch_for_the_end(loop: Loop, child: bool) -> socket.socket:
    """Signals wake the loop through a socket; with `child`, so does the end of standard input."""
    receiver, sender = socket.socketpair()
    sender.setblocking(False)
    signal.set_wakeup_fd(sender.detach())
    parent = os.getppid()

    def on_signal() -> None:
        numbers = receiver.recv(64)
        if any(number != _PARENT_GONE for number in numbers) or os.getppid() != parent:
            loop.stop()

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, _PARENT_GONE):
        signal.signal(number, lambda *_: None)
    loop.on_readable(receiver.fileno(), on_signal)
    if child:
        # Both: the pipe may have been inherited by another child; the signal comes already when a thread ends.
        signal_on_parent_death(_PARENT_GONE)
        loop.on_readable(0, lambda: loop.stop() if os.read(0, 4096) == b"" else None)
    return receiver


class DirectoryLock:
    """A kernel lock on a directory, so gone with its holder; the file `lock` in it names the holder."""

    def __init__(self, directory: Path, what: str) -> None:
        """Raises InfrastructureError naming the holder when it is taken."""
        path = directory / "lock"
        self._file: IO[str] = path.open("a+", encoding="ascii")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._file.seek(0)
            holder = self._file.read().strip() or "unknown"
            self._file.close()
            raise InfrastructureError(
                f"{what} is in use: process {holder} holds {path}; end it or use another state directory"
            ) from None
        self._file.seek(0)
        self._file.truncate()
        self._file.write(f"{os.getpid()}\n")
        self._file.flush()

    def release(self) -> None:
        """Lets the next one in."""
        self._file.close()


def port_holder(port: int) -> str:
    """Who listens on a TCP port of this computer: "pid 12 (python3)", or "another process" when it cannot be seen."""
    inodes = _listening_inodes(port)
    for process in Path("/proc").iterdir():
        if process.name.isdigit() and inodes & _socket_inodes(process):
            try:
                command = (process / "comm").read_text(encoding="utf-8", errors="replace").strip()
            except OSError:
                command = "?"
            return f"pid {process.name} ({command})"
    return "another process"


def _listening_inodes(port: int) -> set[str]:
    """Socket inodes from the kernel's tables; their columns: local address, state (0A listens), inode tenth."""
    found = set()
    for name in ("tcp", "tcp6"):
        try:
            lines = Path("/proc/net", name).read_text(encoding="ascii").splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            fields = line.split()
            if fields[3] == "0A" and int(fields[1].rsplit(":", 1)[1], 16) == port:
                found.add(fields[9])
    return found


def _socket_inodes(process: Path) -> set[str]:
    found = set()
    try:
        for entry in (process / "fd").iterdir():
            target = os.readlink(entry)  # noqa: PTH115 (not a path)
            if target.startswith("socket:["):
                found.add(target[8:-1])
    except OSError:
        pass  # it has ended, or is another user's
    return found
