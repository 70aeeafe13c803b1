"""Timers and the watchdog of the nRF52840 (Product Specification, chapters TIMER and WDT)."""

from __future__ import annotations

from collections.abc import Callable

from bench.virtual.nrf52_unit import INTEN, Fabric, Unit

START, STOP, COUNT, CLEAR, SHUTDOWN, CAPTURE0 = 0x000, 0x004, 0x008, 0x00C, 0x010, 0x040
COMPARE0, MODE, BITMODE, PRESCALER, CC0 = 0x140, 0x504, 0x508, 0x510, 0x540
_CHANNELS = 6
_BITS = (16, 8, 24, 32)
_TIMER_HZ = 16_000_000

RELOAD_KEY = 0x6E524635
WDT_START, RUNSTATUS, CRV, RREN, CONFIG, RR0 = 0x000, 0x400, 0x504, 0x508, 0x50C, 0x600
_LOW_FREQUENCY_HZ = 32768


class Timer(Unit):
    """Counts 16 MHz over its prescaler, or what COUNT tells it; compares and captures. Shorts are not modelled."""

    def __init__(self, base: int, fabric: Fabric) -> None:
        super().__init__(base, fabric)
        self._stand()

    def reset(self) -> None:
        super().reset()
        self._stand()

    def _stand(self) -> None:
        self._running = False
        self._value, self._since = 0, 0  # at the cycle `since`
        self._compared = 0  # the value up to which compare events have been raised

    @property
    def _counts(self) -> bool:
        return bool(self.words.get(MODE, 0) & 3)

    @property
    def _step(self) -> int:
        """Cycles of the core for one count."""
        return (self.fabric.clock.hz // _TIMER_HZ) << min(self.words.get(PRESCALER, 0), 9)

    @property
    def _wrap(self) -> int:
        return 1 << _BITS[self.words.get(BITMODE, 0) & 3]

    def _now(self) -> int:
        """The count, without wrapping."""
        if not self._running or self._counts:
            return self._value
        return self._value + (self.fabric.clock.now - self._since) // self._step

    def _set(self, value: int) -> None:
        self._value, self._since, self._compared = value, self.fabric.clock.now, value

    def task(self, offset: int) -> None:
        self.advance()
        if offset == START:
            self._set(self._now())
            self._running = True
        elif offset in (STOP, SHUTDOWN):
            self._set(0 if offset == SHUTDOWN else self._now())
            self._running = False
        elif offset == CLEAR:
            self._set(0)
        elif offset == COUNT:
            if self._counts and self._running:
                self._value += 1
                self.advance()
        elif CAPTURE0 <= offset < CAPTURE0 + 4 * _CHANNELS:
            self.words[CC0 + offset - CAPTURE0] = self._now() % self._wrap

    def _due(self, channel: int) -> int:
        """The count, without wrapping, at which a channel compares next."""
        target, wrap = self.words.get(CC0 + 4 * channel, 0) % self._wrap, self._wrap
        return target + (self._compared - target) // wrap * wrap + wrap

    def advance(self) -> None:
        now = self._now()
        if now == self._compared:
            return
        due = [channel for channel in range(_CHANNELS) if self._due(channel) <= now]
        self._compared = now
        for channel in due:
            self.event(COMPARE0 + 4 * channel)

    def next_event(self) -> int | None:
        enabled = self.words.get(INTEN, 0) >> 16
        if not self._running or self._counts or not enabled:
            return None
        due = min(self._due(channel) for channel in range(_CHANNELS) if enabled >> channel & 1)
        return self._since + (due - self._value) * self._step


class Watchdog(Unit):
    """One reload register; it cannot be configured or stopped once it runs. A reset that it did not cause stops it
    only where the manual says so, which is every one that a debugger or the core asks for here."""

    def __init__(self, base: int, fabric: Fabric, bite: Callable[[], None]) -> None:
        super().__init__(base, fabric)
        self._bite = bite
        self._fed_at: int | None = None

    def reset(self) -> None:
        super().reset()
        self._fed_at = None

    def write(self, offset: int, value: int) -> None:
        if offset == RR0:
            if value == RELOAD_KEY and self._fed_at is not None:
                self._fed_at = self.fabric.clock.now
        elif self._fed_at is None or offset not in (CRV, RREN, CONFIG):
            super().write(offset, value)

    def read(self, offset: int) -> int:
        return int(self._fed_at is not None) if offset == RUNSTATUS else super().read(offset)

    def task(self, offset: int) -> None:
        if offset == WDT_START and self._fed_at is None:
            self._fed_at = self.fabric.clock.now

    def next_event(self) -> int | None:
        if self._fed_at is None:
            return None
        seconds = (self.words.get(CRV, 0xFFFFFFFF) + 1) / _LOW_FREQUENCY_HZ
        return self._fed_at + self.fabric.clock.cycles(seconds)

    def advance(self) -> None:
        if (at := self.next_event()) is not None and self.fabric.clock.now >= at:
            self._fed_at = None
            self._bite()
