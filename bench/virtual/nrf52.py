"""The peripherals of the nRF52840, as far as the HAL uses them; others keep what is written, and do nothing."""

from __future__ import annotations

import mmap
from collections.abc import Callable

from bench.virtual.nrf52_timer import Timer, Watchdog
from bench.virtual.nrf52_uarte import BURST, Uarte
from bench.virtual.nrf52_unit import Clock, Ppi, Unit
from bench.virtual.parts import Pin, Region

HZ = 64_000_000
RESET_NONE, RESET_PIN, RESET_WATCHDOG, RESET_SOFTWARE = 0, 1, 2, 4  # POWER.RESETREAS; none: at power-on

_HFCLKSTART, _HFCLKSTOP, _HFCLKSTARTED = 0x000, 0x004, 0x100
_RESETREAS, _HFCLKRUN, _HFCLKSTAT = 0x400, 0x408, 0x40C
_RUNNING_ON_CRYSTAL = 1 << 16 | 1
_OUT, _OUTSET, _OUTCLR, _DIR, _DIRSET, _DIRCLR = 0x504, 0x508, 0x50C, 0x514, 0x518, 0x51C


class ClockAndPower(Unit):
    """CLOCK and POWER share an address. The crystal starts at once: how long it may take is the clock tests' matter."""

    def __init__(self, base: int, fabric: Nrf52) -> None:
        super().__init__(base, fabric)
        self.reasons = 0

    def read(self, offset: int) -> int:
        return self.reasons if offset == _RESETREAS else super().read(offset)

    def write(self, offset: int, value: int) -> None:
        if offset == _RESETREAS:
            self.reasons &= ~value
        else:
            super().write(offset, value)

    def task(self, offset: int) -> None:
        if offset == _HFCLKSTART:
            self.words[_HFCLKRUN], self.words[_HFCLKSTAT] = 1, _RUNNING_ON_CRYSTAL
            self.event(_HFCLKSTARTED)
        elif offset == _HFCLKSTOP:
            self.words[_HFCLKRUN], self.words[_HFCLKSTAT] = 0, 1 << 16


class Pins:
    """The two ports, 0x300 apart."""

    base = 0x50000000

    def __init__(self) -> None:
        self._words: dict[int, int] = {}
        self._watched: tuple[Pin, Callable[[bool], None]] | None = None
        self._high = False

    def reset(self) -> None:
        """All inputs."""
        self._words = {}
        self._look()

    def watch(self, pin: Pin, tell: Callable[[bool], None]) -> None:
        """`tell` is called with the pin's level, now and whenever it changes."""
        self._watched = (pin, tell)
        self._high = self.level(pin)
        tell(self._high)

    def _look(self) -> None:
        if self._watched is None:
            return
        pin, tell = self._watched
        high = self.level(pin)
        if high != self._high:
            self._high = high
            tell(high)

    def read(self, offset: int) -> int:
        """A register; the set and clear registers read as what they change."""
        port, register = divmod(offset - 0x500, 0x300)
        same = {_OUTSET: _OUT, _OUTCLR: _OUT, _DIRSET: _DIR, _DIRCLR: _DIR}.get(0x500 + register)
        return self._words.get(offset if same is None else same + 0x300 * port, 0)

    def write(self, offset: int, value: int) -> None:
        """Stores to a register."""
        port, register = divmod(offset - 0x500, 0x300)
        kind = 0x500 + register
        if kind in (_OUTSET, _OUTCLR, _DIRSET, _DIRCLR):
            target = (_OUT if kind < _DIR else _DIR) + 0x300 * port
            before = self._words.get(target, 0)
            self._words[target] = before | value if kind in (_OUTSET, _DIRSET) else before & ~value
        else:
            self._words[offset] = value
        self._look()

    def level(self, pin: Pin) -> bool:
        """What the pin drives; as an input it is pulled low by what is wired to it."""
        port, number = pin
        driven = self._words.get(_OUT + 0x300 * port, 0) & self._words.get(_DIR + 0x300 * port, 0)
        return bool(driven >> number & 1)


class Nrf52:
    """All of them, and what joins them: PPI, interrupts, time."""

    def __init__(
        self,
        ram: list[tuple[Region, mmap.mmap]],
        clock: Clock,
        interrupt: Callable[[int, bool], None],
        bite: Callable[[], None],
        *,
        burst: int = BURST,
        latency: int = 0,
    ) -> None:
        """`bite`: what the watchdog does. `burst` and `latency` of the line: see Uarte."""
        self.clock = clock
        self.interrupt = interrupt
        self._ram = ram
        self.power = ClockAndPower(0x40000000, self)
        self.uarte = Uarte(0x40002000, self, self._read_ram, self._write_ram, burst=burst, latency=latency)
        timers = [Timer(base, self) for base in (0x40008000, 0x40009000, 0x4000A000, 0x4001A000, 0x4001B000)]
        self._timed: list[Unit] = [self.uarte, *timers, Watchdog(0x40010000, self, bite)]
        self.ppi = Ppi(lambda address: self.write(address, 1))
        self.pins = Pins()
        units: tuple[Unit | Ppi | Pins, ...] = (self.power, *self._timed, self.ppi, self.pins)
        self._units = {unit.base >> 12: unit for unit in units}
        self._others: dict[int, int] = {}

    def signal(self, address: int) -> None:
        """An event of a unit, to PPI."""
        self.ppi.signal(address)

    def reset(self, reason: int) -> None:
        """A system reset. POWER.RESETREAS gathers reasons until they are cleared; a power-on, reason 0, clears them."""
        for unit in self._units.values():
            unit.reset()
        self._others.clear()
        self.power.reasons = self.power.reasons | reason if reason else 0

    def read(self, address: int) -> int:
        """A register, by its absolute address."""
        unit = self._units.get(address >> 12)
        return unit.read(address & 0xFFF) if unit is not None else self._others.get(address, 0)

    def write(self, address: int, value: int) -> None:
        """Stores to a register. Raises BusError for a transfer that the DMA cannot make."""
        unit = self._units.get(address >> 12)
        if unit is not None:
            unit.write(address & 0xFFF, value)
        else:
            self._others[address] = value

    def next_event(self) -> int | None:
        """The cycle at which something may interrupt, if nothing is stored to a register before."""
        return min((at for unit in self._timed if (at := unit.next_event()) is not None), default=None)

    def line_event(self) -> int | None:
        """Likewise, of the serial line alone."""
        return self.uarte.next_event()

    def advance(self) -> None:
        """Does what is due now."""
        for unit in self._timed:
            unit.advance()

    def _ram_at(self, address: int, size: int) -> tuple[mmap.mmap, int] | None:
        for region, buffer in self._ram:
            if region.holds(address, size):
                return buffer, address - region.base
        return None

    def _read_ram(self, address: int, size: int) -> bytes | None:
        found = self._ram_at(address, size)
        return found[0][found[1] : found[1] + size] if found else None

    def _write_ram(self, address: int, data: bytes) -> bool:
        found = self._ram_at(address, len(data))
        if found:
            found[0][found[1] : found[1] + len(data)] = data
        return found is not None
