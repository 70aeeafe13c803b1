"""A virtual nRF52840 in this process: the line's every byte is in the test's hands, and time is the core's."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from bench.virtual.assembly import Nordic, Target, make_memories
from bench.virtual.core import Core
from bench.virtual.loop import Loop, Timer
from bench.virtual.nrf52 import RESET_NONE, RESET_PIN
from bench.virtual.parts import NRF52840
from bench.virtual.plugin import build_unicorn_hooks
from bench.virtual.serial_line import Wire

ESCAPE = b"\x01"
_TURNS = 20_000


class Turns(Loop):
    """A loop that the test turns: what was to be called later is called at once."""

    def __init__(self) -> None:
        super().__init__()
        self._next: Timer | None = None

    def call_later(self, seconds: float, call: Callable[[], None]) -> Timer:
        """Takes the place of the one before: the image has one."""
        self._next = super().call_later(seconds, call)
        return self._next

    def turn(self) -> None:
        """The next call."""
        timer, self._next = self._next, None
        if timer is not None and not timer.cancelled:
            timer.call()


class Board:
    """From power-on. `burst` and `latency` of the line: see bench/virtual/nrf52_uarte.py."""

    def __init__(self, image: bytes, folder: Path, *, burst: int = 1, latency: int = 0) -> None:
        folder.mkdir(exist_ok=True)
        (folder / "flash.bin").write_bytes(image + b"\xff" * (NRF52840.flash.size - len(image)))
        self._loop = Turns()
        self.target = Target(NRF52840, make_memories(NRF52840, folder))
        self._wire = wire = Wire(self._loop)
        self.said = bytearray()
        wire.host = self.said.extend
        self._nordic = Nordic(
            self._loop, self.target, wire, build_unicorn_hooks(folder), None, burst=burst, latency=latency
        )
        self.devices = self._nordic.devices
        self._core = Core(NRF52840, self.target.cpu, self.target.memories[0], self._nordic.image)
        self.target.bus.attach(self._core)
        self.locked_up = False
        self._nordic.image.on_end = self._lock_up
        self._nordic.connect(self._core, lambda _asserted: self.reset(RESET_PIN), self.reset)
        self.reset(RESET_NONE)

    def reset(self, reason: int) -> None:
        """A system reset."""
        self.target.controller.reset()
        self._nordic.reset(reason)
        self._core.reset()

    def _lock_up(self) -> None:
        self.locked_up = True
        self._core.image_ended()

    def send(self, data: bytes) -> None:
        """Onto the line, where byte follows byte at its rate."""
        self._wire.to_board(data)

    def run(self, what: str, condition: Callable[[], bool]) -> None:
        """Until a condition holds."""
        for _ in range(_TURNS):
            if condition():
                return
            self._loop.turn()
        raise AssertionError(f"{what}: never; it said {bytes(self.said[-200:])!r}")

    def line(self) -> dict[str, int]:
        """The next line's NAME=HEX pairs."""
        self.run("a line", lambda: b"\n" in self.said)
        text, _, rest = bytes(self.said).partition(b"\n")
        self.said[:] = rest
        return {name.decode(): int(value, 16) for name, value in re.findall(rb"(\w+)=([0-9a-f]{8})", text)}

    def command(self, letter: str) -> dict[str, int]:
        """Of boot_probe.cpp."""
        self.send(ESCAPE + letter.encode())
        return self.line()

    def echo(self, data: bytes) -> None:
        """Sends bytes and asserts that the same come back."""
        assert ESCAPE not in data
        self.said.clear()
        self.send(data)
        self.run(f"{len(data)} bytes", lambda: len(self.said) >= len(data))
        assert bytes(self.said) == data
        self.said.clear()

    def close(self) -> None:
        """Frees what is not Python's."""
        self._nordic.close()
        self.target.cpu.close()
        for memory in self.target.memories:
            memory.close()
        self._loop.close()
