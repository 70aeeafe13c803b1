"""Flashing and resetting through pyOCD, run as a command of its own: a probe that hangs or crashes cannot take the
bench along, and several boards are served at once."""

from __future__ import annotations

import os
import re
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench import process
from bench.errors import BenchError, ConfigError, InfrastructureError
from bench.results.files import writing

_AT_ONCE = threading.BoundedSemaphore(max(1, os.cpu_count() or 1))
_RESET_TIMEOUT_S = 30.0
_POLL_S = 0.1  # how late a cancellation may be noticed

Log = Callable[[str], None]


@dataclass(frozen=True)
class Target:
    """What pyOCD has to know of a board: the probe's unique id, its name for the chip, a CMSIS pack. `name` is ours."""

    name: str
    probe: str
    target: str
    pack: str | None = None


class WriteFailedError(InfrastructureError):
    """pyOCD reached the board, but something went wrong on the way or in the flash: worth a second try."""


class FlashCancelledError(BenchError):
    """The caller's event was set; the board may be partly flashed, which the next flash mends."""


def flash(
    target: Target,
    segments: Mapping[int, bytes],
    folder: Path,
    *,
    timeout_s: float,
    log: Log,
    cancelled: threading.Event | None = None,
    trust_nothing: bool = False,
) -> None:
    """Writes `segments` (flash address → bytes) and resets the board, which then boots.

    `folder` is the board's own, for the files that pyOCD reads: they have the same names each time, so that a bench
    that is killed does not leave ever more of them.

    pyOCD leaves pages alone whose contents already match; with `trust_nothing` it writes all of them. It does not
    verify what it wrote: the caller does.

    Raises:
        ConfigError: pyOCD does not know the target.
        WriteFailedError: it went wrong after pyOCD had found the probe.
        InfrastructureError: no such probe, no access to the board, not done within `timeout_s`, or no room on the disk.
        FlashCancelledError: `cancelled` was set.
    """
    arguments = ["flash", *_common(target)]
    if trust_nothing:
        arguments += ["-O", "smart_flash=false"]
    files = {folder / f"{address:08x}.bin": address for address in segments}
    try:
        for file, address in files.items():
            with writing(file):
                folder.mkdir(parents=True, exist_ok=True)
                file.write_bytes(segments[address])
            arguments.append(f"{file}@{address:#x}")
        _run(target, arguments, timeout_s, log, cancelled)
    finally:
        for file in files:
            file.unlink(missing_ok=True)


def reset(target: Target, *, log: Log, cancelled: threading.Event | None = None) -> None:
    """Resets a board through its probe. Errors as for `flash`."""
    _run(target, ["reset", *_common(target)], _RESET_TIMEOUT_S, log, cancelled)


def read(
    target: Target, address: int, size: int, folder: Path, *, log: Log, cancelled: threading.Event | None = None
) -> bytes:
    """Reads memory of a board, without stopping what runs on it. Errors as for `flash`."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{address:08x}.read"
    file.unlink(missing_ok=True)
    arguments = ["commander", *_common(target), "-M", "attach", "-c", f"savemem {address:#x} {size} {file}"]
    try:
        _run(target, arguments, _RESET_TIMEOUT_S, log, cancelled)
        return file.read_bytes()
    except FileNotFoundError as error:
        raise WriteFailedError(
            f"board {target.name}: pyocd read nothing at {address:#x}: is the chip protected against reading?"
        ) from error
    finally:
        file.unlink(missing_ok=True)


def _common(target: Target) -> list[str]:
    # -W: never wait for a probe to appear. A locked nRF is not mass-erased behind its owner's back.
    arguments = ["-W", "--no-config", "--uid", target.probe, "--target", target.target, "-O", "auto_unlock=false"]
    return [*arguments, "--pack", target.pack] if target.pack else arguments


def _run(
    target: Target, arguments: Sequence[str], timeout_s: float, log: Log, cancelled: threading.Event | None
) -> None:
    log(f"$ pyocd {' '.join(arguments)}")
    try:
        with _turn(target, cancelled):
            ended = process.run([sys.executable, "-m", "pyocd", *arguments], timeout_s=timeout_s, cancelled=cancelled)
    except process.NotEndedError as error:
        _log_output(log, error.output)
        if isinstance(error, process.CancelledError):
            raise _cancelled(target) from error
        raise InfrastructureError(
            f"board {target.name}: pyocd {arguments[0]} did not end within {timeout_s:.0f} s: check the probe "
            f"{target.probe} and the board's power (flash_timeout_s is in its manifest)"
        ) from error
    _log_output(log, ended.output)
    if ended.code != 0:
        raise _failure(target, arguments[0], ended)


@contextmanager
def _turn(target: Target, cancelled: threading.Event | None) -> Iterator[None]:
    """One of as many pyOCDs at a time as there are processors: more would run into each other's time limits."""
    while not _AT_ONCE.acquire(timeout=_POLL_S):
        if cancelled is not None and cancelled.is_set():
            raise _cancelled(target)
    try:
        yield
    finally:
        _AT_ONCE.release()


def _cancelled(target: Target) -> FlashCancelledError:
    return FlashCancelledError(f"board {target.name}: flashing was cancelled; the next flash mends it")


def _log_output(log: Log, output: str) -> None:
    for line in output.splitlines():
        log(f"pyocd: {line}")


_CONFIG_SIGNS = (
    ("target type", "correct `target`, or name the part's CMSIS pack in `pack`"),
    ("unknown debug probe type", "what may stand before the id in `probe` is stlink:, jlink:, cmsisdap: or picoprobe:"),
)
_HINTS = (
    ("no connected debug probe matches", "plug the probe in, or correct `probe` (`pyocd list` shows full ids)"),
    ("no available debug probes", "plug the probe in; on Linux, check the udev rules"),
    ("connection refused", "start the probe's server, or correct host and port in `probe`"),
    ("name or service not known", "correct the host in `probe`"),
    ("no route to host", "is the machine with the probe's server on, and the host in `probe` right?"),
    (
        "approtect enabled",
        "the chip's access port is protected and nothing was erased; `pyocd erase --mass` unlocks it "
        "and erases everything on it",
    ),
    ("locked", "the chip is protected; `pyocd erase --mass` unlocks it and erases everything on it"),
    ("no ack", "check the debug cable and the board's power"),
    ("unable to connect", "check the debug cable and the board's power"),
    ("permission", "on Linux, check the udev rules of the probe"),
    ("older firmware", "the probe's firmware is too old: update it (STSW-LINK007 for an ST-LINK)"),
    ("firmware version", "the probe's firmware is too old: update it (STSW-LINK007 for an ST-LINK)"),
)
_DECORATION = re.compile(r"^\d{7} [CEWID] |(\s*\[\w+\])$")  # milliseconds and level before, pyOCD's module behind


def _failure(target: Target, verb: str, ended: process.Ended) -> BenchError:
    lines = [_DECORATION.sub("", line.strip()) for line in ended.output.splitlines() if line.strip()]
    words = (
        "error",
        "not recognized",
        "unknown",
        "no connected",
        "no available",
        "no ack",
        "fail",
        "locked",
        "approtect",
    )
    telling = [line for line in lines if any(word in line.lower() for word in words)]
    excerpt = (telling or lines[-1:] or ["it printed nothing"])[0]
    lower = ended.output.lower()
    message = f"board {target.name}: pyocd {verb} failed (exit {ended.code}): {excerpt}"
    for sign, hint in _CONFIG_SIGNS:
        if sign in lower and ("not recognized" in lower or "unknown" in lower):
            return ConfigError(f"{message}; {hint}")
    for sign, hint in _HINTS:
        if sign in lower:
            return InfrastructureError(f"{message}; probe {target.probe}: {hint}")
    return WriteFailedError(f"{message}; probe {target.probe}: the board's log has all of pyOCD's output")
