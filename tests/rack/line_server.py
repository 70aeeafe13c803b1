"""A board's serial line at the end of a network, or of a wire with a baud rate of its own."""

from __future__ import annotations

import contextlib
import os
import select
import socket
import termios
import threading
import tty
from pathlib import Path
from typing import Literal, Self

import serial
import serial.rfc2217


class _Connection:
    """What pyserial's PortManager writes its answers to."""

    def __init__(self, end: socket.socket) -> None:
        self.write = end.sendall


class _Terminal(serial.Serial):
    """A pseudo-terminal as a port: it has no modem lines, which a server of RFC 2217 sets and reads."""

    cts = dsr = ri = cd = False

    def _update_rts_state(self) -> None:
        pass

    def _update_dtr_state(self) -> None:
        pass


class LineServer:
    """Serves a board's line over TCP: raw, or RFC 2217 by pyserial's own PortManager. One client at a time."""

    def __init__(self, line: str, protocol: Literal["socket", "rfc2217"], baud: int = 115200) -> None:
        self._protocol = protocol
        self._serial = _Terminal(line, baud, timeout=0)
        self._server = socket.create_server(("127.0.0.1", 0))
        self._stop, self._wake = os.pipe()
        self.connections = 0
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()
        self.url = f"{protocol}://127.0.0.1:{self._server.getsockname()[1]}"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.write(self._wake, b"x")
        self._thread.join(5)
        self._server.close()
        self._serial.close()
        os.close(self._stop)
        os.close(self._wake)

    def _serve(self) -> None:
        while True:
            ready, _, _ = select.select([self._server, self._stop], [], [])
            if self._stop in ready:
                return
            end, _ = self._server.accept()
            self.connections += 1
            with end, contextlib.suppress(OSError):
                if self._carry(end):
                    return

    def _carry(self, end: socket.socket) -> bool:
        """Until the client goes away (False) or the server is to stop (True)."""
        end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        manager = serial.rfc2217.PortManager(self._serial, _Connection(end)) if self._protocol == "rfc2217" else None
        while True:
            ready, _, _ = select.select([end, self._serial.fileno(), self._stop], [], [], 1.0)
            if self._stop in ready:
                return True
            if self._serial.fileno() in ready:
                data = self._serial.read(4096)
                end.sendall(b"".join(manager.escape(data)) if manager else data)
            if end in ready:
                data = end.recv(4096)
                if not data:
                    return False
                self._serial.write(b"".join(manager.filter(data)) if manager else data)


SPEEDS = {9600: termios.B9600, 57600: termios.B57600, 115200: termios.B115200, 230400: termios.B230400}


class BaudLine:
    """A pseudo-terminal in front of a board whose UART runs at one rate: at any other, both ends get garbage."""

    def __init__(self, line: str, baud: int, path: Path) -> None:
        self._speed = SPEEDS[baud]
        self._board = os.open(line, os.O_RDWR | os.O_NOCTTY)
        tty.setraw(self._board)
        self._master, self._slave = os.openpty()
        tty.setraw(self._slave)
        self._stop, self._wake = os.pipe()
        self.path = str(path)
        path.symlink_to(os.ttyname(self._slave))
        self._thread = threading.Thread(target=self._carry, daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.write(self._wake, b"x")
        self._thread.join(5)
        Path(self.path).unlink()
        for fd in (self._board, self._master, self._slave, self._stop, self._wake):
            os.close(fd)

    def _carry(self) -> None:
        ways = {self._master: self._board, self._board: self._master}
        while True:
            ready, _, _ = select.select([*ways, self._stop], [], [])
            if self._stop in ready:
                return
            for source in ready:
                data = os.read(source, 4096)
                if termios.tcgetattr(self._slave)[5] != self._speed:
                    data = bytes(byte ^ 0x5A for byte in data)  # bits of another length
                os.write(ways[source], data)
