"""A wire that corrupts, loses and holds back bytes when it is told to."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

from bench.link.frame import Parser, Received
from bench.virtual.faults.spec import Direction, Fault
from bench.virtual.loop import Loop
from bench.virtual.serial_line import Wire

Told = Callable[[], None]


@dataclass(eq=False)
class _Strike:
    """Something that happens after so many more bytes in a direction."""

    direction: Direction
    left: int
    happens: Told
    fault: Fault | None = None  # where the bytes themselves suffer


class _Noise:
    """What a fault does to `left` more bytes."""

    def __init__(self, fault: Fault) -> None:
        self._kind = fault.kind
        self._random = random.Random(fault.seed)
        self.left = fault.size

    def spoil(self, byte: int) -> bytes:
        self.left -= 1
        if self._kind == "drop":
            return b""
        if self._kind == "bit-flip":
            return bytes([byte ^ 1 << self._random.randrange(8)])
        return bytes([self._random.randrange(256)])


class FaultyWire(Wire):
    """Passes bytes on as they come until a fault is armed.

    `strike` is called when a fault strikes, before the byte that it hits passes; `heal` once a whole frame has come
    from the board after the last byte that it spoils.
    """

    def __init__(self, loop: Loop) -> None:
        super().__init__(loop)
        self._strikes: list[_Strike] = []
        self._noise: dict[Direction, _Noise] = {}
        self._held: list[tuple[Direction, bytes]] | None = None  # while the line stalls
        self._waiting: list[Told] = []  # for a whole frame
        self._parser = Parser()

    def to_board(self, data: bytes) -> None:
        """See Wire."""
        self._send("down", self._struck("down", data))

    def to_host(self, data: bytes) -> None:
        """See Wire."""
        self._send("up", self._struck("up", data))

    def arm(self, fault: Fault, strike: Told, heal: Told | None = None) -> None:
        """Lets a fault strike when it is its time. Where bytes themselves do not suffer, `strike` does it all."""

        def happens() -> None:
            strike()
            if fault.kind in ("bit-flip", "drop", "burst"):
                self._noise[fault.direction] = _Noise(fault)
            elif fault.kind == "stall":
                self._stall(fault.seconds)
            if heal is not None:
                self._await_frame(heal)

        self._strikes.append(_Strike(fault.direction, fault.after, happens))

    def disarm(self) -> None:
        """Forgets what has not struck yet."""
        self._strikes.clear()

    def _await_frame(self, heal: Told) -> None:
        if not self._waiting:
            self._parser = Parser()
        self._waiting.append(heal)

    def _struck(self, direction: Direction, data: bytes) -> bytes:
        if direction not in self._noise and not any(s.direction == direction for s in self._strikes):
            return data
        passed = bytearray()
        for byte in data:
            for due in [s for s in self._strikes if s.direction == direction]:
                due.left -= 1
                if due.left < 0:
                    self._strikes.remove(due)
                    due.happens()
            noise = self._noise.get(direction)
            if noise is None:
                passed.append(byte)
                continue
            passed += noise.spoil(byte)
            if noise.left == 0:
                del self._noise[direction]
        return bytes(passed)

    def _stall(self, seconds: float) -> None:
        if self._held is None:
            self._held = []
            self.loop.call_later(seconds, self._go_on)

    def _go_on(self) -> None:
        held, self._held = self._held or [], None
        for direction, data in held:
            self._send(direction, data)

    def _send(self, direction: Direction, data: bytes) -> None:
        if self._held is not None:
            self._held.append((direction, data))
            return
        if direction == "down":
            self.board(data)
            return
        self.host(data)
        if not self._waiting:
            return
        whole = any(isinstance(event, Received) for event in self._parser.feed(data))
        if whole and not self._noise:
            waiting, self._waiting = self._waiting, []
            for heal in waiting:
                heal()
