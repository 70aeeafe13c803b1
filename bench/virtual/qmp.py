"""QEMU's machine protocol on a socket: one command at a time, answers within a deadline."""

from __future__ import annotations

import json
import select
import socket
import time
from collections.abc import Callable
from typing import Any

from bench.errors import InfrastructureError

_TIMEOUT_S = 10.0


class Qmp:
    """Commands block; events are dropped. `meanwhile` is called with the console's readiness while a command waits:
    a QEMU that is stuck in writing to its console would never answer."""

    def __init__(
        self,
        connection: socket.socket,
        console: int,
        meanwhile: Callable[[], None],
        wake: Callable[[], None] = lambda: None,
    ) -> None:
        """`wake` is called before each command: a process that was stopped would not answer."""
        self._socket = connection
        self._console = console
        self._meanwhile = meanwhile
        self._buffer = bytearray()
        self._greeted = False
        self._wake = wake

    def command(self, name: str, **arguments: Any) -> Any:
        """Executes a command and returns its result. Raises InfrastructureError."""
        self._wake()
        if not self._greeted:
            self._wait_for("QMP", "its greeting")
            self._greeted = True
            self.command("qmp_capabilities")
        message: dict[str, Any] = {"execute": name}
        if arguments:
            message["arguments"] = arguments
        try:
            self._socket.sendall(json.dumps(message).encode() + b"\n")
        except OSError as error:
            raise InfrastructureError(f"QEMU does not take {name}: {error}") from error
        return self._wait_for("return", name)

    def drain(self) -> None:
        """Drops events, but keeps the greeting. Raises InfrastructureError when QEMU has closed its end."""
        self._receive("events", socket.MSG_DONTWAIT)
        if self._greeted:
            self._buffer.clear()

    def _wait_for(self, key: str, what: str) -> Any:
        deadline = time.monotonic() + _TIMEOUT_S
        while True:
            while b"\n" in self._buffer:
                line, _, rest = self._buffer.partition(b"\n")
                self._buffer = bytearray(rest)
                message = json.loads(line)
                if key in message:
                    return message[key]
                if "error" in message:
                    raise InfrastructureError(f"QEMU refuses {what}: {message['error'].get('desc')}")
            left = deadline - time.monotonic()
            if left <= 0:
                raise InfrastructureError(f"QEMU does not answer {what} within {_TIMEOUT_S:g} s")
            control = self._socket.fileno()
            ready, _, _ = select.select([control, self._console], [], [], left)
            if self._console in ready:
                self._meanwhile()
            if control in ready:
                self._receive(what, 0)

    def _receive(self, what: str, flags: int) -> None:
        try:
            data = self._socket.recv(65536, flags)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            raise InfrastructureError(f"QEMU ended while it was asked for {what}")
        self._buffer += data
