"""The way faults come to a virtual board: a socket beside its serial line, one fault a connection.

A line of JSON, a `Fault`, is answered by lines of their own: `struck` when it has struck, and, of a fault of the line,
`healed` when the line has carried a whole frame from the board again, each with the time by the computer's monotonic
clock; or `refused: ...`. Whoever ends his side of the connection before a fault has struck takes it back, which the end
of the other side confirms. The kind `power-cycle` with `after` 0 is done at once, and `struck` when the board is on
again.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import time
from collections.abc import Iterator
from pathlib import Path

from bench.errors import ConfigError, InfrastructureError
from bench.virtual.faults.board_faults import BoardFaults
from bench.virtual.faults.spec import Fault
from bench.virtual.loop import Loop

_NAME = "control"
_LONGEST = 4096
_SLICE_S = 0.1


class ControlServer:
    """In the board's process."""

    def __init__(self, loop: Loop, faults: BoardFaults, folder: Path) -> None:
        self._loop = loop
        self._faults = faults
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.setblocking(False)
        self._clients: dict[int, socket.socket] = {}
        self._path = folder / _NAME
        with _short(folder) as short:
            self._listener.bind(short)
        self._listener.listen()
        loop.on_readable(self._listener.fileno(), self._accept)

    def close(self) -> None:
        """Nobody can ask for faults any more."""
        for client in list(self._clients.values()):
            self._drop(client)
        self._loop.forget(self._listener.fileno())
        self._listener.close()
        self._path.unlink(missing_ok=True)

    def _accept(self) -> None:
        client, _ = self._listener.accept()
        client.setblocking(False)
        self._clients[client.fileno()] = client
        self._loop.on_readable(client.fileno(), lambda: self._receive(client))

    def _receive(self, client: socket.socket) -> None:
        try:
            line = client.recv(_LONGEST)
        except OSError:
            line = b""
        if not line:
            self._faults.disarm()
            self._drop(client)
            return
        try:
            fault = Fault.from_json(line)
        except ConfigError as error:
            self._tell(client, f"refused: {error}")
            return
        if fault.kind == "power-cycle" and fault.after == 0:
            self._faults.power_cycle(fault.seconds, lambda: self._happened(client, "struck"))
        else:
            struck, healed = (lambda: self._happened(client, "struck")), (lambda: self._happened(client, "healed"))
            self._faults.arm(fault, struck, healed)

    def _happened(self, client: socket.socket, event: str) -> None:
        self._tell(client, f"{event} {time.monotonic()}")

    def _tell(self, client: socket.socket, text: str) -> None:
        with contextlib.suppress(OSError):
            client.sendall(text.replace("\n", " ").encode() + b"\n")

    def _drop(self, client: socket.socket) -> None:
        if self._clients.pop(client.fileno(), None) is not None:
            self._loop.forget(client.fileno())
            client.close()


class FaultOverError(InfrastructureError):
    """The board says no more of a fault: it was taken back, or the board's process has ended."""


class ArmedFault:
    """In the process that wants the fault; closing it takes a fault back that has not struck. `at`: when that happened
    which was awaited last."""

    def __init__(self, folder: Path, fault: Fault) -> None:
        """`folder` is where the board's serial line is. Raises InfrastructureError when there is no board."""
        self.at = 0.0
        self._buffer = b""
        self._socket = socket.socket(socket.AF_UNIX)
        try:
            with _short(folder) as short:
                self._socket.connect(short)
            self._socket.sendall(fault.to_json())
        except OSError as error:
            self._socket.close()
            raise InfrastructureError(f"{folder}: no virtual board takes faults here: {error.strerror}") from error

    def wait(self, event: str, timeout_s: float) -> bool:
        """Whether it has come to that within the time. Raises InfrastructureError: refused, or the board is gone."""
        deadline = time.monotonic() + timeout_s
        while b"\n" not in self._buffer:
            left = deadline - time.monotonic()
            if left <= 0:
                return False
            ready, _, _ = select.select([self._socket], [], [], min(left, _SLICE_S))
            if not ready:
                continue
            try:
                data = self._socket.recv(_LONGEST)
            except OSError:
                data = b""
            if not data:
                raise FaultOverError("the virtual board has ended before the fault was over")
            self._buffer += data
        line, _, self._buffer = self._buffer.partition(b"\n")
        text = line.decode(errors="replace")
        happened, _, at = text.partition(" ")
        if happened != event:
            raise InfrastructureError(f"a fault was to be {event}, but is {text}")
        self.at = float(at)
        return True

    def take_back(self, timeout_s: float) -> bool:
        """Takes the fault back. False: it has struck before that, and `at` says when.

        Raises InfrastructureError: the board does not answer.
        """
        with contextlib.suppress(OSError):  # the board has ended
            self._socket.shutdown(socket.SHUT_WR)
        try:
            if self.wait("struck", timeout_s):
                return False
        except FaultOverError:
            return True
        raise InfrastructureError(f"the virtual board has not let go of a fault within {timeout_s:g} s")

    def close(self) -> None:
        """Takes it back if it has not struck."""
        self._socket.close()


def power_cycle(folder: Path, seconds: float, timeout_s: float) -> None:
    """Switches a virtual board off and on. Raises InfrastructureError."""
    armed = ArmedFault(folder, Fault("power-cycle", seconds=seconds))
    try:
        if not armed.wait("struck", timeout_s):
            raise InfrastructureError(f"{folder}: the virtual board was not on again within {timeout_s:g} s")
    finally:
        armed.close()


@contextlib.contextmanager
def _short(folder: Path) -> Iterator[str]:
    """A path of the socket that fits the 108 bytes of its address, however deep the folder lies."""
    descriptor = os.open(folder, os.O_PATH)
    try:
        yield f"/proc/self/fd/{descriptor}/{_NAME}"
    finally:
        os.close(descriptor)
