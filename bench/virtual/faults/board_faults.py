"""Carries faults out on a virtual board."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from bench.virtual.faults.spec import Fault
from bench.virtual.faults.wire import FaultyWire, Told
from bench.virtual.loop import Loop
from bench.virtual.nonvolatile import NonVolatile
from bench.virtual.nrf52 import RESET_PIN
from bench.virtual.probe import ProbeServer
from bench.virtual.serial_line import SerialLine

LOG = logging.getLogger(__name__)

_NOWHERE = 0xE0100000  # in the system region, where nothing may be executed (Armv7-M ARM, B3.1)
_WORD = 4


class Runs(Protocol):
    """What executes the image."""

    def freeze(self) -> None: ...

    def drag(self, share: int) -> None: ...

    def jump(self, address: int) -> None: ...


class Faulty(Protocol):
    """What faults need of a virtual board."""

    loop: Loop
    line: SerialLine
    server: ProbeServer

    @property
    def wire(self) -> FaultyWire: ...

    @property
    def runs(self) -> Runs: ...

    @property
    def flash(self) -> NonVolatile: ...

    def reset(self, reason: int) -> None: ...

    def power_off(self) -> None: ...

    def power_on(self) -> None: ...


class BoardFaults:
    """A board's faults. Those of the line are the wire's own, but for a terminal that goes away."""

    def __init__(self, board: Faulty) -> None:
        self._board = board
        self._counting: Callable[[int, int], None] | None = None  # changes of flash, until the power fails

    def arm(self, fault: Fault, struck: Told, healed: Told) -> None:
        """Has a fault strike when its time has come. `healed` is told of those of the line only."""

        def strike() -> None:
            LOG.info("fault on purpose: %s", fault.to_json().decode())
            if fault.kind == "brown-out":
                self._put(fault.image)
                self._await_flash(fault, struck)
                return
            self._strike(fault)
            struck()

        self._board.wire.arm(fault, strike, healed if fault.on_link else None)

    def disarm(self) -> None:
        """Forgets what has not struck yet."""
        self._board.wire.disarm()
        self._stop_counting()

    def power_cycle(self, seconds: float, done: Told) -> None:
        """Off, and on after a while; what a vanished probe needs, too."""

        def on() -> None:
            self._board.power_on()
            done()

        self._board.power_off()
        self._board.loop.call_later(seconds, on)

    def _strike(self, fault: Fault) -> None:
        board = self._board
        later = board.loop.call_later
        if fault.kind == "disconnect":
            later(0, board.line.unplug)  # not from within the line's own reading
            later(fault.seconds, board.line.plug_in)
        elif fault.kind == "slow":
            board.runs.drag(fault.size)
            later(fault.seconds, lambda: board.runs.drag(1))
        elif fault.kind == "reset":
            later(0, lambda: board.reset(RESET_PIN))
        elif fault.kind == "hang":
            later(0, board.runs.freeze)
        elif fault.kind == "hard-fault":
            later(0, lambda: board.runs.jump(_NOWHERE))
        elif fault.kind == "wrong-build":
            self._put(fault.image)
        elif fault.kind == "probe-gone":
            later(0, board.server.unplug)
            later(0, board.runs.freeze)
        elif fault.kind == "power-cycle":
            later(0, lambda: self.power_cycle(fault.seconds, lambda: None))

    def _put(self, image: str) -> None:
        """Another build is in flash, and runs."""

        def put() -> None:
            self._board.flash.overwrite(0, Path(image).read_bytes())
            self._board.reset(RESET_PIN)

        self._board.loop.call_later(0, put)

    def _await_flash(self, fault: Fault, struck: Told) -> None:
        left = fault.size

        def changed(offset: int, size: int) -> None:
            nonlocal left
            left -= 1
            if left == 0:
                # The flash algorithm that programs is in the midst of its run: the power fails behind it.
                self._board.loop.call_later(0, lambda: self._brown_out(fault, offset, size, struck))

        def begin() -> None:
            self._stop_counting()
            self._counting = changed
            self._board.flash.listeners.append(changed)

        self._board.loop.call_later(0, begin)  # behind what _put does

    def _brown_out(self, fault: Fault, offset: int, size: int, struck: Told) -> None:
        self._stop_counting()
        flash = self._board.flash
        word = bytearray(flash.read(offset, min(size, _WORD)))
        for at, value in enumerate(word):  # some of its bits are programmed, some not
            word[at] = value | random.Random(fault.seed + at).randrange(256)
        flash.overwrite(offset, bytes(word))
        self.power_cycle(fault.seconds, lambda: None)
        struck()

    def _stop_counting(self) -> None:
        if self._counting is not None:
            self._board.flash.listeners.remove(self._counting)
            self._counting = None
