"""One user a board: a kernel lock, which cannot outlive its holder, and a record that says who holds it."""

from __future__ import annotations

import fcntl
import getpass
import hashlib
import json
import os
import re
import socket
import tempfile
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Self

from bench.errors import InfrastructureError


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


def _path(key: str) -> Path:
    readable = re.sub(r"[^A-Za-z0-9.-]+", "_", key)[:60]
    return lock_folder() / f"{readable}-{hashlib.sha256(key.encode()).hexdigest()[:8]}.lock"


class BoardLock:
    """Held from `acquire()` or entering until `release()`, leaving, or the death of this process."""

    def __init__(self, key: str, name: str, purpose: str) -> None:
        """`key` is the probe, which is what two users would fight for; `name` the board's, for messages."""
        self._path = _path(key)
        self._name = name
        self._purpose = purpose
        self._fd: int | None = None

    def acquire(self) -> None:
        """Raises InfrastructureError that names the holder when the board is taken."""
        try:
            fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
            with suppress(OSError):  # another user's file is already open to all
                os.fchmod(fd, 0o666)
        except OSError as error:
            raise InfrastructureError(
                f"{self._path}: {error.strerror}; set BENCH_LOCK_DIR to another folder"
            ) from error
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            held = _read(fd)
            os.close(fd)
            raise InfrastructureError(f"board {self._name} is in use by {held or 'another process'}") from error
        since = datetime.now(UTC).isoformat(timespec="seconds")
        record = Holder(os.getpid(), getpass.getuser(), socket.gethostname(), since, self._purpose)
        os.ftruncate(fd, 0)
        os.pwrite(fd, json.dumps(asdict(record)).encode(), 0)
        self._fd = fd

    def release(self) -> None:
        """Gives the board back; the file stays, for a lock file that goes away can be locked twice."""
        if self._fd is not None:
            os.ftruncate(self._fd, 0)
            os.close(self._fd)
            self._fd = None

    def __enter__(self) -> Self:
        self.acquire()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


def holder(key: str) -> Holder | None:
    """Who holds the board with this probe now; None when nobody does, whatever an old record says."""
    path = _path(key)
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _read(fd) or Holder(0, "?", "?", "?", "?")
    finally:
        os.close(fd)
    return None


def _read(fd: int) -> Holder | None:
    try:
        return Holder(**json.loads(os.pread(fd, 4096, 0)))
    except (ValueError, TypeError):
        return None
