"""The flash controller of STM32F2 and F4 (RM0033 and PM0059; RM0090 3.6 to 3.9)."""

from __future__ import annotations

from bench.virtual.flash_controller import FlashController, KeyLock
from bench.virtual.nonvolatile import NonVolatile
from bench.virtual.parts import Region

ACR, KEYR, OPTKEYR, SR, CR, OPTCR = 0x00, 0x04, 0x08, 0x0C, 0x10, 0x14

EOP, OPERR, WRPERR, PGAERR, PGPERR, PGSERR, BSY = 1 << 0, 1 << 1, 1 << 4, 1 << 5, 1 << 6, 1 << 7, 1 << 16
PG, SER, MER, STRT, EOPIE, ERRIE, LOCK = 1 << 0, 1 << 1, 1 << 2, 1 << 16, 1 << 24, 1 << 25, 1 << 31

_KB = 1024
SECTORS = tuple(size * _KB for size in (16, 16, 16, 16, 64, 128, 128, 128, 128, 128, 128, 128))
_CR_BITS = PG | SER | MER | 0xF << 3 | 3 << 8 | EOPIE | ERRIE
_OPTCR_RESET = 0x0FFFAAED


def sector(number: int) -> tuple[int, int]:
    """Offset and size of a sector, bytes."""
    return sum(SECTORS[:number]), SECTORS[number]


class Stm32F4Flash(FlashController):
    """Sectors of 16, 64 and 128 KB, as many as the flash has. A store programs when CR.PG is set, in PSIZE's width."""

    region = Region(0x40023C00, 0x400)

    def __init__(self, flash: NonVolatile) -> None:
        super().__init__(flash)
        self.reset()

    def reset(self) -> None:
        self._lock = KeyLock()
        self._status = 0
        self._control = 0
        self._access_control = 0

    def read(self, offset: int) -> int:
        if offset == SR:
            status = self._status
            self._status &= ~BSY
            return status
        if offset == CR:
            return self._control | (LOCK if self._lock.locked else 0)
        return {ACR: self._access_control, OPTCR: _OPTCR_RESET}.get(offset, 0)

    def write(self, offset: int, value: int) -> None:
        if offset == KEYR:
            self._lock.key(value)
        elif offset == SR:
            self._status &= ~(value & (EOP | OPERR | WRPERR | PGAERR | PGPERR | PGSERR))
        elif offset == ACR:
            self._access_control = value & 0x1F07
        elif offset == CR and not self._lock.locked:
            self._control = value & _CR_BITS
            if value & STRT:
                self._start_erase()
            if value & LOCK:
                self._lock.lock()

    def store(self, memory: NonVolatile, offset: int, data: bytes) -> None:
        if self._lock.locked or not self._control & PG or self._control & (SER | MER):
            self._fail(PGSERR)
        elif len(data) != 1 << (self._control >> 8 & 3):
            self._fail(PGPERR)
        elif offset // 16 != (offset + len(data) - 1) // 16:
            self._fail(PGAERR)  # data of one store lie in one 128-bit row
        else:
            memory.program(offset, data)
            self._finish()

    def _start_erase(self) -> None:
        if self._control & MER and not self._control & (SER | PG):
            self.flash.erase(0, self.flash.region.size)
        elif self._control & SER and not self._control & (MER | PG) and self._has_sector:
            self.flash.erase(*sector(self._number))
        else:
            self._fail(PGSERR)
            return
        self._status |= BSY
        self._finish()

    @property
    def _has_sector(self) -> bool:
        return self._number < len(SECTORS) and sum(sector(self._number)) <= self.flash.region.size

    @property
    def _number(self) -> int:
        return self._control >> 3 & 0xF

    def _finish(self) -> None:
        if self._control & EOPIE:
            self._status |= EOP

    def _fail(self, flag: int) -> None:
        self._status |= flag | (OPERR if self._control & ERRIE else 0)
