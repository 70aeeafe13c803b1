"""A port that sends no faster than a real line.

QEMU's UART of the nRF51 takes bytes whether there is room in its FIFO of six or not, and what has none is lost. On a
real line a byte comes every 87 us at 115200 baud, and the interrupt handler keeps up.
"""

from __future__ import annotations

import threading

from bench.link.port import BytePort

BURST = 6
"""Bytes that fit the FIFO (nRF51 Series Reference Manual, 29.3)."""


class PacedPort:
    """Passes everything on to a port, writes in bursts with pauses between them that a real line would take."""

    def __init__(self, port: BytePort) -> None:
        self.name = port.name
        self.baud = port.baud
        self._port = port
        self._closed = threading.Event()
        self._pause_s = BURST * 10 / port.baud  # a byte is ten bits on the line

    def read(self, timeout_s: float) -> bytes:
        """See BytePort."""
        return self._port.read(timeout_s)

    def write(self, data: bytes) -> None:
        """See BytePort."""
        for start in range(0, len(data), BURST):
            self._port.write(data[start : start + BURST])
            self._closed.wait(self._pause_s)

    def close(self) -> None:
        """See BytePort."""
        self._closed.set()
        self._port.close()
