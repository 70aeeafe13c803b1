"""One user a board.

A *lock* is held by a process while it uses the board: a kernel lock, which cannot outlive its holder, and a record that
says who holds it. A *reservation* is made by a person and stays until it is given back: only that user's processes
can then lock the board.
"""

from __future__ import annotations

import fcntl
import getpass
import hashlib
import json
import os
import re
import socket
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Self

from bench.errors import InfrastructureError

_RECORD_BYTES = 4096
_PROBED_S = 0.8  # longer than several take to look who holds a lock, on a busy machine


class BoardInUseError(InfrastructureError):
    """Another process has the board: it is worth waiting for."""


@dataclass(frozen=True)
class Holder:
    """Who holds a lock: process, user, machine, since when (ISO 8601, UTC) and what for."""

    pid: int
    user: str
    host: str
    since: str
    purpose: str

    def __str__(self) -> str:
        return f"{self.user}, process {self.pid} on {self.host}, since {self.since} ({self.purpose})"


@dataclass(frozen=True)
class Reservation:
    """Who keeps a board for themselves, since when (ISO 8601, UTC) and what for."""

    user: str
    host: str
    since: str
    purpose: str

    def __str__(self) -> str:
        return f"{self.user} on {self.host}, since {self.since} ({self.purpose})"


def lock_folder() -> Path:
    """Where lock files lie: shared by all users of this machine, since they share its probes."""
    named = os.environ.get("BENCH_LOCK_DIR")
    folder = Path(named) if named else Path(tempfile.gettempdir()) / "ftte-bench-locks"
    try:
        if not folder.is_dir():
            folder.mkdir(parents=True, exist_ok=True)
            folder.chmod(0o1777)
    except OSError as error:
        raise InfrastructureError(f"{folder}: no place for lock files: {error.strerror}; set BENCH_LOCK_DIR") from error
    return folder


def _path(key: str, suffix: str) -> Path:
    readable = re.sub(r"[^A-Za-z0-9.-]+", "_", key)[-60:]
    return lock_folder() / f"{readable}-{hashlib.sha256(key.encode()).hexdigest()[:8]}.{suffix}"


class BoardLock:
    """Held from `acquire()` or entering until `release()`, leaving, or the death of this process."""

    def __init__(self, key: str, name: str, purpose: str) -> None:
        """`key` is the probe, which is what two users would fight for; `name` the board's, for messages."""
        self._key = key
        self._path = _path(key, "lock")
        self._name = name
        self._purpose = purpose
        self._fd: int | None = None

    def acquire(self) -> None:
        """Raises BoardInUseError that names the holder when the board is taken, InfrastructureError when it is reserved
        by another user."""
        fd = self._open()
        try:
            _lock(fd)
            self._check_reservation()
        except BlockingIOError as error:
            held = _holder_in(fd)
            os.close(fd)
            raise BoardInUseError(
                f"board {self._name} is in use by {held or 'another process'}: wait for it, or end it"
            ) from error
        except BaseException:
            os.close(fd)
            raise
        record = Holder(os.getpid(), getpass.getuser(), socket.gethostname(), _now(), self._purpose)
        os.ftruncate(fd, 0)
        os.pwrite(fd, json.dumps(asdict(record)).encode(), 0)
        self._fd = fd

    def release(self) -> None:
        """Gives the board back; the file stays, for a lock file that goes away can be locked twice."""
        if self._fd is not None:
            os.ftruncate(self._fd, 0)
            os.close(self._fd)
            self._fd = None

    def check(self) -> None:
        """Raises InfrastructureError when another process can have the board too, for the file of the lock is gone or
        another one, or another user has reserved the board."""
        if self._fd is None:
            return
        held = os.fstat(self._fd)
        try:
            found = self._path.stat()
        except OSError:
            found = None
        if found is None or (found.st_dev, found.st_ino) != (held.st_dev, held.st_ino):
            now = holder(self._key)
            by = f"; it is now held by {now}" if now is not None else ""
            raise InfrastructureError(
                f"board {self._name}: its lock is lost, for {self._path} was removed or replaced{by}"
            )
        self._check_reservation()

    def _open(self) -> int:
        try:
            # Not O_CREAT on a file that exists: in a sticky folder the kernel refuses that for another user's file
            # (fs.protected_regular).
            with suppress(FileNotFoundError):
                return os.open(self._path, os.O_RDWR | os.O_CLOEXEC)
            fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
            with suppress(OSError):
                os.fchmod(fd, 0o666)  # whatever the umask: it is every user's
        except OSError as error:
            raise InfrastructureError(
                f"{self._path}: cannot be opened: {error.strerror}; set BENCH_LOCK_DIR"
            ) from error
        return fd

    def _check_reservation(self) -> None:
        kept = reservation(self._key)
        if kept is not None and kept.user != getpass.getuser():
            raise InfrastructureError(
                f"board {self._name} is reserved by {kept}; they free it with `bench rack unlock {self._name}`"
            )

    def __enter__(self) -> Self:
        self.acquire()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


def holder(key: str) -> Holder | None:
    """Who holds the board with this probe now; None when nobody does, whatever an old record says."""
    try:
        fd = os.open(_path(key, "lock"), os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _holder_in(fd) or Holder(0, "?", "?", "?", "?")
    finally:
        os.close(fd)
    return None


def reserve(key: str, name: str, purpose: str) -> Reservation:
    """Keeps a board for this user until `unreserve`. Raises InfrastructureError when it is in use or reserved."""
    with BoardLock(key, name, "reserving it"):
        kept = Reservation(getpass.getuser(), socket.gethostname(), _now(), purpose)
        path = _path(key, "reserved")
        _write(path, lambda: path.write_text(json.dumps(asdict(kept)), encoding="utf-8"))
        return kept


def unreserve(key: str, name: str, *, force: bool = False) -> bool:
    """Gives a reserved board back; returns whether it was reserved.

    Raises InfrastructureError when it is another user's, unless `force`.
    """
    kept = reservation(key)
    if kept is None:
        return False
    if kept.user != getpass.getuser() and not force:
        raise InfrastructureError(f"board {name} is reserved by {kept}, not by you; --force takes it from them")
    path = _path(key, "reserved")
    _write(path, lambda: path.unlink(missing_ok=True))
    return True


def reservation(key: str) -> Reservation | None:
    """Who keeps the board with this probe for themselves."""
    try:
        return Reservation(**json.loads(_path(key, "reserved").read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def _lock(fd: int) -> None:
    """Raises BlockingIOError. Not at the first try: `holder()` takes every lock for a moment, to see whether it can."""
    deadline = time.monotonic() + _PROBED_S
    while True:
        try:
            return fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= deadline:
                raise
            threading.Event().wait(_PROBED_S / 10)


def _write(path: Path, action: Callable[[], object]) -> None:
    try:
        action()
    except OSError as error:
        raise InfrastructureError(f"{path}: cannot be changed: {error.strerror}") from error


def _holder_in(fd: int) -> Holder | None:
    try:
        return Holder(**json.loads(os.pread(fd, _RECORD_BYTES, 0)))
    except (ValueError, TypeError):
        return None


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
