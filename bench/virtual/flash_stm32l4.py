"""The flash controller of STM32L4x5 (RM0351 3.3 and 3.7)."""

from __future__ import annotations

from bench.virtual.flash_controller import FlashController, KeyLock
from bench.virtual.nonvolatile import NonVolatile
from bench.virtual.parts import Region

ACR, KEYR, OPTKEYR, SR, CR, ECCR, OPTR = 0x00, 0x08, 0x0C, 0x10, 0x14, 0x18, 0x20

EOP, OPERR, PROGERR, WRPERR, PGAERR, SIZERR, PGSERR = 1, 1 << 1, 1 << 3, 1 << 4, 1 << 5, 1 << 6, 1 << 7
MISERR, FASTERR, BSY = 1 << 8, 1 << 9, 1 << 16
ERRORS = PROGERR | WRPERR | PGAERR | SIZERR | PGSERR | MISERR | FASTERR
PG, PER, MER1, BKER, MER2, STRT = 1 << 0, 1 << 1, 1 << 2, 1 << 11, 1 << 15, 1 << 16
EOPIE, ERRIE, RDERRIE, OPTLOCK, LOCK = 1 << 24, 1 << 25, 1 << 26, 1 << 30, 1 << 31

PAGE = 2048
_CR_BITS = PG | PER | MER1 | 0xFF << 3 | BKER | MER2 | EOPIE | ERRIE | RDERRIE
_OPTR_FACTORY = 0xFFEFF8AA  # dual bank, software watchdogs, read protection level 0
_BLANK = b"\xff" * 8


class Stm32L4Flash(FlashController):
    """Two banks of 2 KB pages. A double word is programmed by two word stores in order, once after each erase."""

    region = Region(0x40022000, 0x400)

    def __init__(self, flash: NonVolatile) -> None:
        super().__init__(flash)
        self._bank = flash.region.size // 2
        self.reset()

    def reset(self) -> None:
        self._lock = KeyLock()
        self._status = 0
        self._control = 0
        self._access_control = 0x600
        self._first: tuple[int, bytes] | None = None  # the first word of a double word, and its offset

    def read(self, offset: int) -> int:
        if offset == SR:
            status = self._status
            self._status &= ~BSY
            return status
        if offset == CR:
            return self._control | OPTLOCK | (LOCK if self._lock.locked else 0)
        return {ACR: self._access_control, OPTR: _OPTR_FACTORY}.get(offset, 0)

    def write(self, offset: int, value: int) -> None:
        if offset == KEYR:
            self._lock.key(value)
        elif offset == SR:
            self._status &= ~(value & (EOP | OPERR | ERRORS))
        elif offset == ACR:
            self._access_control = value & 0x7F07
        elif offset == CR and not self._lock.locked:
            self._control = value & _CR_BITS
            if not value & PG:
                self._first = None
            if value & STRT:
                self._start_erase()
            if value & LOCK:
                self._lock.lock()

    def store(self, memory: NonVolatile, offset: int, data: bytes) -> None:
        if self._lock.locked or not self._control & PG or self._status & ERRORS:
            self._fail(PGSERR)  # PG not set, or an earlier error not cleared (RM0351, FLASH_SR.PGSERR)
        elif len(data) not in (4, 8):
            self._fail(SIZERR)
        elif len(data) == 8:
            self._program(memory, offset, data)
        elif self._first is None:
            if offset % 8 == 0:
                self._first = (offset, data)
            else:
                self._fail(PGAERR)
        else:
            (start, low), self._first = self._first, None
            if offset == start + 4:
                self._program(memory, start, low + data)
            else:
                self._fail(PGAERR)

    def _program(self, memory: NonVolatile, offset: int, data: bytes) -> None:
        """Each double word carries its own error-correcting code: only an erased one takes data; any takes zeros."""
        if offset % 8 != 0:
            self._fail(PGAERR)
        elif memory.read(offset, 8) != _BLANK and any(data):
            self._fail(PROGERR)
        else:
            memory.program(offset, data)
            self._finish()

    def _start_erase(self) -> None:
        mass = self._control & (MER1 | MER2)
        page = self._control & PER
        if self._control & PG or self._status & ERRORS or bool(mass) == bool(page):
            self._fail(PGSERR)
            return
        if self._control & MER1:
            self.flash.erase(0, self._bank)
        if self._control & MER2:
            self.flash.erase(self._bank, self._bank)
        if page:
            number = self._control >> 3 & 0xFF
            self.flash.erase((self._bank if self._control & BKER else 0) + number * PAGE, PAGE)
        self._status |= BSY
        self._finish()

    def _finish(self) -> None:
        if self._control & EOPIE:
            self._status |= EOP

    def _fail(self, flag: int) -> None:
        self._first = None
        self._status |= flag | (OPERR if self._control & ERRIE else 0)
