"""Runs commands that must neither hang the bench nor outlive it: pyOCD, PlatformIO.

A command runs in a session and process group of its own, under a small guard (`bench/guard.py`). So Ctrl-C on
the terminal reaches the bench alone, which then ends the group in its own order; and when the bench itself is killed,
the guard ends the group.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_GUARD = Path(__file__).with_name("guard.py")
_POLL_S = 0.1  # how late a cancellation may be noticed
_GRACE_S = 3.0  # from SIGTERM to SIGKILL


@dataclass(frozen=True)
class Ended:
    """How a command ended; `output` is what it wrote to standard output and error."""

    code: int
    output: str


class NotEndedError(Exception):
    """The command had to be ended; `output` is what it had written by then."""

    def __init__(self, output: str) -> None:
        super().__init__(output)
        self.output = output


class OutOfTimeError(NotEndedError):
    """It took longer than it may."""


class CancelledError(NotEndedError):
    """The caller's event was set."""


def run(
    command: Sequence[str | Path],
    *,
    timeout_s: float | None = None,
    cancelled: threading.Event | None = None,
    environment: Mapping[str, str] | None = None,
) -> Ended:
    """Runs a command without standard input to its end.

    Whatever ends the wait, an exception in this thread included, no process of the command is left.

    Raises:
        OutOfTimeError: it did not end within `timeout_s`.
        CancelledError: `cancelled` was set.
        OSError: it cannot be started.
    """
    with tempfile.TemporaryFile() as output:
        guard = subprocess.Popen(
            [sys.executable, "-I", "-S", str(_GUARD), *map(str, command)],
            stdin=subprocess.PIPE,  # its end is what tells the guard that we are gone
            stdout=output,
            stderr=subprocess.STDOUT,
            env=None if environment is None else dict(environment),
            start_new_session=True,
        )
        try:
            reason = _wait(guard, timeout_s, cancelled)
        finally:
            _end(guard)
        output.seek(0)
        text = output.read().decode(errors="replace")
    if reason is not None:
        raise reason(text)
    return Ended(guard.returncode, text)


def _wait(
    guard: subprocess.Popen[bytes], timeout_s: float | None, cancelled: threading.Event | None
) -> type[NotEndedError] | None:
    deadline = None if timeout_s is None else time.monotonic() + timeout_s
    while True:
        try:
            guard.wait(timeout=_POLL_S)
        except subprocess.TimeoutExpired:
            if cancelled is not None and cancelled.is_set():
                return CancelledError
            if deadline is not None and time.monotonic() > deadline:
                return OutOfTimeError
        else:
            return None


def _end(guard: subprocess.Popen[bytes]) -> None:
    if guard.poll() is None:
        with suppress(ProcessLookupError):
            os.killpg(guard.pid, signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            guard.wait(timeout=_GRACE_S)  # the guard ends when the command has
    with suppress(ProcessLookupError):  # what the command started and left behind
        os.killpg(guard.pid, signal.SIGKILL)
    guard.wait()
    if guard.stdin is not None:
        guard.stdin.close()
