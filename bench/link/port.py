"""The byte stream to a board: a serial port by pyserial's name or URL."""

from __future__ import annotations

import errno
import os
import re
import select
import socket
import threading
import time
from pathlib import Path
from typing import Protocol

import serial

from bench.errors import ConfigError, InfrastructureError

_SLICE_S = 0.1  # the longest a read blocks on a port that cannot be woken
_WRITE_STALL_S = 5.0  # a line that takes no byte for so long has nothing at its other end


class BytePort(Protocol):
    """What a session needs of a port."""

    name: str
    baud: int

    def read(self, timeout_s: float) -> bytes:
        """Waits until bytes have arrived and returns all of them; b"" after `timeout_s`. Raises InfrastructureError
        when the port is gone or was closed."""

    def write(self, data: bytes) -> None:
        """Writes all of `data`. Raises InfrastructureError when the port is gone, closed, or takes nothing."""

    def close(self) -> None:
        """Closes it; a thread that waits in `read` or `write` gets an InfrastructureError. May be called twice."""


class SerialPort:
    """A pyserial port. Where it has a file descriptor (devices, pseudo-terminals, `socket://`) the wait is one select
    that `close()` ends; pyserial's own reads would wait for a full buffer or return single bytes."""

    def __init__(self, port: serial.Serial, name: str, baud: int) -> None:
        """Takes an open port over; see `open_port`."""
        self.name = name
        self.baud = baud
        self._port = port
        self._fd = _descriptor(port)
        self._closed = threading.Event()
        self._reading = threading.Lock()
        self._writing = threading.Lock()
        self._wake_out, self._wake_in = os.pipe()

    def read(self, timeout_s: float) -> bytes:
        """See BytePort."""
        with self._reading:
            self._check_open()
            try:
                if self._fd is None:
                    return self._read_by_library(timeout_s)
                ready, _, _ = select.select([self._fd, self._wake_out], [], [], max(0.0, timeout_s))
                self._check_open()
                if not ready:
                    return b""
                data = os.read(self._fd, 65536)
            except (BlockingIOError, InterruptedError):
                return b""
            except (OSError, serial.SerialException) as error:
                raise self._gone(error) from error
            if not data:
                raise self._gone(OSError(errno.EIO, "end of file"))
            return data

    def write(self, data: bytes) -> None:
        """See BytePort."""
        with self._writing:
            self._check_open()
            try:
                if self._fd is None:
                    self._port.write(data)
                else:
                    self._write_all(self._fd, data)
            except serial.SerialTimeoutException as error:
                raise self._stalled() from error
            except (OSError, serial.SerialException) as error:
                raise self._gone(error) from error

    def close(self) -> None:
        """See BytePort."""
        if self._closed.is_set():
            return
        self._closed.set()
        os.write(self._wake_in, b"x")
        with self._reading, self._writing:
            self._port.close()
            os.close(self._wake_in)
            os.close(self._wake_out)

    def _read_by_library(self, timeout_s: float) -> bytes:
        deadline = time.monotonic() + timeout_s
        while True:
            self._check_open()
            data: bytes = self._port.read(1)  # blocks for _SLICE_S at most
            if data:
                return data + self._port.read(self._port.in_waiting)
            if time.monotonic() >= deadline:
                return b""

    def _write_all(self, fd: int, data: bytes) -> None:
        rest = memoryview(data)
        while rest:
            _, ready, _ = select.select([self._wake_out], [fd], [], _WRITE_STALL_S)
            self._check_open()
            if not ready:
                raise self._stalled()
            try:
                rest = rest[os.write(fd, rest) :]
            except (BlockingIOError, InterruptedError):
                continue

    def _check_open(self) -> None:
        if self._closed.is_set():
            raise InfrastructureError(f"serial port {self.name} was closed")

    def _gone(self, error: Exception) -> InfrastructureError:
        return InfrastructureError(
            f"serial port {self.name} has gone ({error}): check the cable, or whether the board's process still runs"
        )

    def _stalled(self) -> InfrastructureError:
        return InfrastructureError(
            f"serial port {self.name} takes no bytes for {_WRITE_STALL_S:g} s: "
            "is anything at the other end, or is flow control on?"
        )


def open_port(url: str, baud: int, *, exclusive: bool = True) -> SerialPort:
    """Opens a device path, a pseudo-terminal or a pyserial URL (`socket://`, `rfc2217://`, `spy://`).

    Exclusive: another process that opens the port the same way is refused, and so are we. Raises ConfigError for what
    is no port's name, and InfrastructureError, with the holder's process where it can be found, for a busy port.
    """
    try:
        port = serial.serial_for_url(url, baudrate=baud, do_not_open=True, timeout=_SLICE_S)
        if not url.startswith("rfc2217://"):  # pyserial refuses one there; its socket has a time limit of its own
            port.write_timeout = _WRITE_STALL_S
        if exclusive and "://" not in url:
            port.exclusive = True
    except ValueError as error:
        raise ConfigError(f"serial {url!r} at {baud} baud: {error}: give a device path or a pyserial URL") from error
    try:
        port.open()
    except (serial.SerialException, OSError) as error:
        raise _refusal(url, error) from error
    _send_at_once(port)
    return SerialPort(port, url, baud)


def _send_at_once(port: serial.Serial) -> None:
    """A network's line must not hold short requests back to send them together (Nagle's algorithm)."""
    if type(port).__module__ == "serial.urlhandler.protocol_socket":
        with socket.socket(fileno=os.dup(port.fileno())) as twin:
            twin.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def _descriptor(port: serial.Serial) -> int | None:
    """The descriptor of a port that is nothing but that: spy:// and rfc2217:// do work of their own on each byte."""
    if type(port).__module__ not in ("serial.serialposix", "serial.urlhandler.protocol_socket"):
        return None
    return int(port.fileno())


def _refusal(url: str, error: Exception) -> InfrastructureError:
    code = getattr(error, "errno", None)
    if code in (errno.EBUSY, errno.EAGAIN, errno.EWOULDBLOCK):
        holder = find_holder(url)
        by = f" by {holder}" if holder else " by another process"
        return InfrastructureError(f"serial port {url} is busy: held{by}; end it or wait for it")
    if code == errno.ENOENT:
        return InfrastructureError(f"serial port {url} does not exist: is the board plugged in, and the name right?")
    if code in (errno.EACCES, errno.EPERM):
        return InfrastructureError(f"serial port {url} may not be opened: add yourself to its group (often dialout)")
    return InfrastructureError(f"serial port {url} cannot be opened: {error}")


def find_holder(path: str) -> str | None:
    """`process 1234 (name)` that holds a device: its lock if it has one, else whoever has it open; None if unknown."""
    try:
        real = Path(path).resolve(strict=True)
        status = real.stat()
    except OSError:
        return None
    pids = _lock_owners(status.st_dev, status.st_ino) or _openers(real)
    others = [pid for pid in pids if pid != os.getpid()]
    if not others:
        return "this process itself" if pids else None
    return f"process {others[0]} ({_process_name(others[0])})"


def _lock_owners(device: int, inode: int) -> list[int]:
    key = f"{os.major(device):02x}:{os.minor(device):02x}:{inode}"
    try:
        lines = Path("/proc/locks").read_text().splitlines()
    except OSError:
        return []
    matches = (re.match(r"\d+: FLOCK +\S+ +\S+ +(\d+) +(\S+) ", line) for line in lines)
    return [int(match[1]) for match in matches if match and match[2] == key and int(match[1]) > 0]


def _openers(real: Path) -> list[int]:
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if any(link.readlink() == real for link in (folder / "fd").iterdir()):
                found.append(int(folder.name))
        except OSError:  # ended meanwhile, or another user's
            continue
    return found


def _process_name(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return "ended"
