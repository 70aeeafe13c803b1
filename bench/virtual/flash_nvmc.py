"""nRF51's non-volatile memory controller (nRF51 Series Reference Manual 3.0, chapter 6)."""

from __future__ import annotations

from bench.virtual.flash_controller import BusError, FlashController
from bench.virtual.nonvolatile import NonVolatile
from bench.virtual.parts import Region

PAGE = 1024

READY, CONFIG = 0x400, 0x504
ERASEPCR1, ERASEALL, ERASEPCR0, ERASEUICR = 0x508, 0x50C, 0x510, 0x514
READ_ONLY, WRITE_ENABLE, ERASE_ENABLE = 0, 1, 2


class Nvmc(FlashController):
    """Pages of 1 KB; words only; no error flags: what is not allowed is a bus error or has no effect."""

    region = Region(0x4001E000, 0x1000)

    def __init__(self, flash: NonVolatile, uicr: NonVolatile) -> None:
        super().__init__(flash)
        self.uicr = uicr
        self._config = READ_ONLY

    def reset(self) -> None:
        self._config = READ_ONLY

    def read(self, offset: int) -> int:
        return {READY: 1, CONFIG: self._config}.get(offset, 0)

    def write(self, offset: int, value: int) -> None:
        if offset == CONFIG:
            self._config = value & 3
        elif self._config != ERASE_ENABLE:
            return  # the erase tasks do nothing before CONFIG.EEN
        elif offset == ERASEPCR1:
            self._erase_page(value)
        elif offset == ERASEALL and value & 1:
            self.flash.erase(0, self.flash.region.size)
            self._erase_uicr()
        elif offset == ERASEUICR and value & 1:
            self._erase_uicr()
        # ERASEPCR0 erases in region 0, which exists only when UICR.CLENR0 is set at the factory.

    def store(self, memory: NonVolatile, offset: int, data: bytes) -> None:
        if len(data) != 4 or offset % 4 != 0:
            raise BusError(f"flash of nRF51 takes aligned words only, not {len(data)} bytes at offset 0x{offset:x}")
        if self._config != WRITE_ENABLE:
            raise BusError("a store to nRF51 flash without NVMC.CONFIG.WEN")
        memory.program(offset, data)

    def _erase_page(self, address: int) -> None:
        offset = address & ~(PAGE - 1)
        if offset < self.flash.region.size:
            self.flash.erase(offset, PAGE)

    def _erase_uicr(self) -> None:
        self.uicr.erase(0, self.uicr.region.size)
