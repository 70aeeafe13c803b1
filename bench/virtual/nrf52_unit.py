"""What all peripherals of the nRF52 have in common: tasks, events, shorts, one interrupt; and the time they live in.

nRF52840 Product Specification, chapters Peripheral interface and PPI.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

EVENTS, SHORTS, INTEN, INTENSET, INTENCLR, REGISTERS = 0x100, 0x200, 0x300, 0x304, 0x308, 0x400
_PPI_CHEN, _PPI_CHENSET, _PPI_CHENCLR, _PPI_CH0 = 0x500, 0x504, 0x508, 0x510
_CHANNELS = 20


class Clock:
    """Cycles of the core since power-on: one for each instruction, and those that it slept or that were skipped."""

    def __init__(self, hz: int, executed: Callable[[], int]) -> None:
        self.hz = hz
        self._executed = executed
        self._skipped = 0

    @property
    def now(self) -> int:
        """The present cycle."""
        return self._executed() + self._skipped

    def skip(self, cycles: int) -> None:
        """Time goes by without instructions."""
        self._skipped += cycles

    def cycles(self, seconds: float) -> int:
        """As many as these seconds have."""
        return round(seconds * self.hz)


class Fabric(Protocol):
    """What a peripheral reaches beyond itself."""

    clock: Clock

    def interrupt(self, number: int, level: bool) -> None:
        """The interrupt of a peripheral."""

    def signal(self, address: int) -> None:
        """An event, to PPI."""


class Unit:
    """Registers at `base`, 4 KB. Event n lies at 0x100 + 4n and is bit n of INTEN; the interrupt's number is in the
    address."""

    def __init__(self, base: int, fabric: Fabric) -> None:
        self.base = base
        self.fabric = fabric
        self._number = base >> 12 & 0x3F
        self.words: dict[int, int] = {}
        self._raised = 0  # a bit for each event
        self._level = False

    def reset(self) -> None:
        """As after a system reset."""
        self.words.clear()
        self._raised = 0
        self._update()

    def read(self, offset: int) -> int:
        """A register: as it was written, or as the unit says."""
        if EVENTS <= offset < SHORTS:
            return self._raised >> (offset - EVENTS) // 4 & 1
        return self.words.get(INTEN if offset in (INTENSET, INTENCLR) else offset, 0)

    def write(self, offset: int, value: int) -> None:
        """Stores to a register, or triggers a task."""
        if offset < EVENTS:
            if value & 1:
                self.task(offset)
            return
        if offset < SHORTS:
            bit = 1 << (offset - EVENTS) // 4
            self._raised = self._raised | bit if value & 1 else self._raised & ~bit
        elif offset in (INTENSET, INTENCLR):
            before = self.words.get(INTEN, 0)
            self.words[INTEN] = before | value if offset == INTENSET else before & ~value
        else:
            self.words[offset] = value
        if offset < REGISTERS:
            self._update()

    def task(self, offset: int) -> None:
        """Carries a task out."""

    def event(self, offset: int) -> None:
        """Raises an event."""
        self._raised |= 1 << (offset - EVENTS) // 4
        self.fabric.signal(self.base + offset)
        self._update()

    def next_event(self) -> int | None:
        """The cycle at which something happens here that may interrupt."""
        return None

    def advance(self) -> None:
        """Does what is due now."""

    def _update(self) -> None:
        level = self._raised & self.words.get(INTEN, 0) != 0
        if level != self._level:
            self._level = level
            self.fabric.interrupt(self._number, level)


class Ppi:
    """Channels from an event to a task."""

    base = 0x4001F000

    def __init__(self, trigger: Callable[[int], None]) -> None:
        self._trigger = trigger
        self.reset()

    def reset(self) -> None:
        """No channel is on."""
        self._on = 0
        self._ends: dict[int, int] = {}
        self._routes: dict[int, list[int]] = {}

    def read(self, offset: int) -> int:
        """A register."""
        return self._on if offset in (_PPI_CHEN, _PPI_CHENSET, _PPI_CHENCLR) else self._ends.get(offset, 0)

    def write(self, offset: int, value: int) -> None:
        """Stores to a register."""
        if offset == _PPI_CHEN:
            self._on = value
        elif offset == _PPI_CHENSET:
            self._on |= value
        elif offset == _PPI_CHENCLR:
            self._on &= ~value
        else:
            self._ends[offset] = value
        self._routes = {}
        for channel in range(_CHANNELS):
            event, task = (self._ends.get(_PPI_CH0 + 8 * channel + at, 0) for at in (0, 4))
            if self._on >> channel & 1 and event and task:
                self._routes.setdefault(event, []).append(task)

    def signal(self, address: int) -> None:
        """An event happens."""
        for task in self._routes.get(address, ()):
            self._trigger(task)
