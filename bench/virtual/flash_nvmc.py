"""The non-volatile memory controller of nRF51 (Series Reference Manual 3.0, chapter 6) and nRF52840 (Product
Specification, chapter NVMC)."""

from __future__ import annotations

from bench.virtual.flash_controller import BusError, FlashController
from bench.virtual.nonvolatile import NonVolatile
from bench.virtual.parts import Region

PAGE = 1024

READY, READYNEXT, CONFIG, ICACHECNF = 0x400, 0x408, 0x504, 0x540
ERASEPCR1, ERASEALL, ERASEPCR0, ERASEUICR = 0x508, 0x50C, 0x510, 0x514
READ_ONLY, WRITE_ENABLE, ERASE_ENABLE = 0, 1, 2


class Nvmc(FlashController):
    """Words only; no error flags: what is not allowed is a bus error or has no effect. `page`: bytes."""

    region = Region(0x4001E000, 0x1000)

    def __init__(self, flash: NonVolatile, uicr: NonVolatile, page: int = PAGE) -> None:
        super().__init__(flash)
        self.uicr = uicr
        self._page = page
        self._config = READ_ONLY
        self._cache = 0

    def reset(self) -> None:
        self._config = READ_ONLY
        self._cache = 0

    def read(self, offset: int) -> int:
        return {READY: 1, READYNEXT: 1, CONFIG: self._config, ICACHECNF: self._cache}.get(offset, 0)

    def write(self, offset: int, value: int) -> None:
        if offset == CONFIG:
            self._config = value & 3
        elif offset == ICACHECNF:
            self._cache = value
        elif self._config != ERASE_ENABLE:
            return  # the erase tasks do nothing before CONFIG.EEN
        elif offset == ERASEPCR1:
            self._erase_page(value)
        elif offset == ERASEALL and value & 1:
            self.flash.erase(0, self.flash.region.size)
            self._erase_uicr()
        elif offset == ERASEUICR and value & 1:
            self._erase_uicr()
        # ERASEPCR0 of nRF51 erases in region 0, which exists only when UICR.CLENR0 is set at the factory.

    def store(self, memory: NonVolatile, offset: int, data: bytes) -> None:
        if len(data) != 4 or offset % 4 != 0:
            raise BusError(f"this flash takes aligned words only, not {len(data)} bytes at offset 0x{offset:x}")
        if self._config != WRITE_ENABLE:
            raise BusError("a store to flash without NVMC.CONFIG.WEN")
        memory.program(offset, data)

    def _erase_page(self, address: int) -> None:
        offset = address & ~(self._page - 1)
        if offset < self.flash.region.size:
            self.flash.erase(offset, self._page)

    def _erase_uicr(self) -> None:
        self.uicr.erase(0, self.uicr.region.size)
