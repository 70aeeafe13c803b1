"""Flashing and resetting through pyOCD, run as a command of its own: a probe that hangs or crashes cannot take the
bench along, and several boards are served at once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from bench.errors import BenchError, ConfigError, InfrastructureError
from bench.rack.inventory import BoardEntry

_AT_ONCE = threading.BoundedSemaphore(max(1, os.cpu_count() or 1))
_RESET_TIMEOUT_S = 30.0
_POLL_S = 0.1

Log = Callable[[str], None]


class FlashCancelledError(BenchError):
    """The caller's event was set; the board may be partly flashed, which the next flash mends."""


def flash(
    entry: BoardEntry,
    segments: Mapping[int, bytes],
    *,
    timeout_s: float,
    log: Log,
    cancelled: threading.Event | None = None,
    trust_nothing: bool = False,
) -> None:
    """Writes `segments` (flash address → bytes) and resets the board, which then boots.

    pyOCD leaves pages alone whose contents already match; with `trust_nothing` it writes all of them. It does not
    verify what it wrote: the caller does.

    Raises:
        ConfigError: pyOCD does not know the target.
        InfrastructureError: no such probe, no access to the board, or not done within `timeout_s`.
        FlashCancelledError: `cancelled` was set.
    """
    with tempfile.TemporaryDirectory(prefix="bench-flash-") as folder:
        arguments = ["flash", *_common(entry)]
        if trust_nothing:
            arguments += ["-O", "smart_flash=false"]
        for address, data in segments.items():
            file = Path(folder) / f"{address:08x}.bin"
            file.write_bytes(data)
            arguments.append(f"{file}@{address:#x}")
        _run(entry, arguments, timeout_s, log, cancelled)


def reset(entry: BoardEntry, *, log: Log, cancelled: threading.Event | None = None) -> None:
    """Resets a board through its probe. Errors as for `flash`."""
    _run(entry, ["reset", *_common(entry)], _RESET_TIMEOUT_S, log, cancelled)


def _common(entry: BoardEntry) -> list[str]:
    # -W: never wait for a probe to appear. A locked nRF is not mass-erased behind its owner's back.
    arguments = ["-W", "--no-config", "--uid", entry.probe, "--target", entry.target, "-O", "auto_unlock=false"]
    return [*arguments, "--pack", entry.pack] if entry.pack else arguments


def _run(
    entry: BoardEntry, arguments: Sequence[str], timeout_s: float, log: Log, cancelled: threading.Event | None
) -> None:
    command = [sys.executable, "-m", "pyocd", *arguments]
    log(f"$ pyocd {' '.join(arguments)}")
    with _AT_ONCE, tempfile.TemporaryFile() as output:
        # A session of its own: Ctrl-C on the terminal reaches the bench, which then ends pyOCD in its own order.
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
        )
        try:
            deadline = time.monotonic() + timeout_s
            while _still_runs(process):
                if cancelled is not None and cancelled.is_set():
                    raise FlashCancelledError(f"board {entry.name}: flashing was cancelled; the next flash mends it")
                if time.monotonic() > deadline:
                    raise InfrastructureError(
                        f"board {entry.name}: pyocd {arguments[0]} did not end within {timeout_s:.0f} s: check the "
                        f"probe {entry.probe} and the board's power (flash_timeout_s is in its manifest)"
                    )
        finally:
            _end(process)
            output.seek(0)
            text = output.read().decode(errors="replace")
            for line in text.splitlines():
                log(f"pyocd: {line}")
    if process.returncode != 0:
        raise _failure(entry, arguments[0], process.returncode, text)


def _still_runs(process: subprocess.Popen[bytes]) -> bool:
    try:
        process.wait(timeout=_POLL_S)
    except subprocess.TimeoutExpired:
        return True
    return False


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(timeout=3)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


_HINTS = (
    ("no connected debug probe matches", "plug the probe in, or correct `probe` (`pyocd list` shows full ids)"),
    ("no available debug probes", "plug the probe in; on Linux, check the udev rules"),
    ("connection refused", "start the probe's server, or correct host and port in `probe`"),
    ("locked", "the chip is protected; `pyocd erase --mass` unlocks it and erases everything on it"),
    ("no ack", "check the debug cable and the board's power"),
    ("unable to connect", "check the debug cable and the board's power"),
    ("permission", "on Linux, check the udev rules of the probe"),
)


def _failure(entry: BoardEntry, verb: str, code: int, output: str) -> BenchError:
    lines = [line for line in output.splitlines() if line.strip()]
    telling = [line for line in lines if any(word in line.lower() for word in ("error", "critical", "no connected"))]
    excerpt = (telling or lines or ["it printed nothing"])[-1].strip()
    lower = output.lower()
    message = f"board {entry.name}: pyocd {verb} failed (exit {code}): {excerpt}"
    if "target type" in lower and ("not recognized" in lower or "unknown" in lower or "not found" in lower):
        return ConfigError(f"{message}; correct `target` or name the part's CMSIS pack in `pack`")
    hint = next((hint for sign, hint in _HINTS if sign in lower), "the board's log has all of pyOCD's output")
    return InfrastructureError(f"{message}; probe {entry.probe}: {hint}")
