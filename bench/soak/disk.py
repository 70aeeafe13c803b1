"""A disk that is full: the kernel refuses to let this process's files grow, in mid-write, as a full disk does."""

from __future__ import annotations

import os
import resource
from pathlib import Path

_MARK = "BENCH_SOAK"
"""In the environment of all that a soak starts, so that nothing of it is overlooked."""


class DiskFull:
    """From `strike` to `lift`: no file of this process grows beyond a limit (RLIMIT_FSIZE; the error is EFBIG)."""

    def __init__(self) -> None:
        self._before = resource.getrlimit(resource.RLIMIT_FSIZE)
        self.struck = False

    def strike(self, limit: int) -> None:
        """`limit`: bytes of a file."""
        self.struck = True
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, self._before[1]))

    def lift(self) -> None:
        """There is room again, for what was started meanwhile too."""
        if not self.struck:
            return
        self.struck = False
        resource.setrlimit(resource.RLIMIT_FSIZE, self._before)
        for pid in started():
            try:
                resource.prlimit(pid, resource.RLIMIT_FSIZE, self._before)
            except (ProcessLookupError, PermissionError):
                continue


def mark() -> str:
    """Marks this process's environment, and with it that of all that it starts from now on."""
    os.environ[_MARK] = str(os.getpid())
    return os.environ[_MARK]


def started() -> list[int]:
    """Processes that live and were started since `mark`, this one apart."""
    wanted = f"{_MARK}={os.environ.get(_MARK, '')}".encode()
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if wanted in (folder / "environ").read_bytes().split(b"\0") and int(folder.name) != os.getpid():
                found.append(int(folder.name))
        except OSError:  # ended meanwhile, or another user's
            continue
    return found
