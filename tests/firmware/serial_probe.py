"""The other end of boot_probe.cpp's serial line, on a socket or a pseudo-terminal."""

from __future__ import annotations

import os
import random
import re
import select
import time

ESCAPE = b"\x01"


class SerialProbe:
    """Talks to the probe firmware through a file descriptor, each wait with a deadline."""

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self.pending = b""

    def _more(self, deadline: float) -> None:
        left = deadline - time.monotonic()
        ready, _, _ = select.select([self.fd], [], [], max(0.0, left))
        assert ready, f"the board says nothing more; so far {self.pending[-200:]!r}"
        chunk = os.read(self.fd, 65536)
        assert chunk, "the line was closed"
        self.pending += chunk

    def line(self, timeout_s: float = 10) -> dict[str, int]:
        """The next line's NAME=HEX pairs."""
        deadline = time.monotonic() + timeout_s
        while b"\n" not in self.pending:
            self._more(deadline)
        text, self.pending = self.pending.split(b"\n", 1)
        return {name.decode(): int(value, 16) for name, value in re.findall(rb"(\w+)=([0-9a-f]{8})", text)}

    def command(self, letter: str) -> dict[str, int]:
        """Sends a command and reads its line."""
        os.write(self.fd, ESCAPE + letter.encode())
        return self.line()

    def echo(self, count: int, seed: int, timeout_s: float = 20, window: int = 200) -> float:
        """Sends random bytes, asserts that the same come back, and returns the rate in bytes a second.

        `window`: bytes on the way, at most.
        """
        data = random.Random(seed).randbytes(count).replace(ESCAPE, b"\x02")
        assert not self.pending
        start = time.monotonic()
        sent = 0
        while len(self.pending) < len(data):
            room = min(64, window - (sent - len(self.pending))) if sent < len(data) else 0
            readable, writable, _ = select.select([self.fd], [self.fd] if room > 0 else [], [], 1)
            if writable:
                sent += os.write(self.fd, data[sent : sent + room])
            if readable:
                self.pending += os.read(self.fd, 65536)
            assert time.monotonic() < start + timeout_s, f"{len(self.pending)} of {len(data)} bytes came back"
        got, self.pending = self.pending, b""
        assert got == data
        return len(data) / (time.monotonic() - start)


def cpu_seconds(pid: int) -> float:
    """Processor time that a process has used."""
    with open(f"/proc/{pid}/stat", encoding="ascii") as file:  # noqa: PTH123 (a file of the kernel)
        fields = file.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def idle_share(pid: int, seconds: float) -> float:
    """Share of one processor that a process uses while nothing is asked of it."""
    before = cpu_seconds(pid)
    select.select([], [], [], seconds)  # nothing to wait for: the time itself is what is measured
    return (cpu_seconds(pid) - before) / seconds
