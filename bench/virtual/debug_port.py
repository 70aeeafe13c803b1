"""Debug port and access port 0 (Arm Debug Interface v5.2, chapters B2 and C2)."""

from __future__ import annotations

import struct

from bench.virtual.bus import Bus
from bench.virtual.ctrl_ap import NUMBER as CTRL_AP
from bench.virtual.ctrl_ap import ControlAp
from bench.virtual.flash_controller import BusError
from bench.virtual.parts import CoreType

DP_IDR, DP_ABORT, DP_CTRL_STAT, DP_SELECT, DP_RDBUFF = 0x0, 0x0, 0x4, 0x8, 0xC
AP_CSW, AP_TAR, AP_DRW, AP_BD0, AP_CFG, AP_BASE, AP_IDR = 0x00, 0x04, 0x0C, 0x10, 0xF4, 0xF8, 0xFC

STICKYORUN, STICKYCMP, STICKYERR = 1 << 1, 1 << 4, 1 << 5
_REQUESTS = 1 << 28 | 1 << 30  # CDBGPWRUPREQ, CSYSPWRUPREQ; each acknowledge is the next higher bit
_CSW_RESET, _CSW_WRITABLE, _CSW_DEVICEEN = 0x23000042, 0x3F000037, 1 << 6
_BASE = 0xE00FF003
_WRAP = 0x1000
_STICKY_CLEARS = {1 << 1: STICKYCMP, 1 << 2: STICKYERR, 1 << 4: STICKYORUN}


class DebugPort:
    """Access port 0 is the core's, 1 Nordic's where there is one; any other reads as absent."""

    def __init__(self, core: CoreType, bus: Bus) -> None:
        self._core = core
        self._bus = bus
        self._control = 0
        self._sticky = 0
        self._select = 0
        self._csw = _CSW_RESET
        self._tar = 0
        self.control_ap: ControlAp | None = None

    @property
    def _locked(self) -> bool:
        return self.control_ap is not None and self.control_ap.locked

    # --- debug port ---

    def read_dp(self, address: int) -> int:
        """A debug port register."""
        if address == DP_IDR:
            return self._core.dpidr
        if address == DP_CTRL_STAT and self._select & 0xF == 0:
            return self._control | (self._control & _REQUESTS) << 1 | self._sticky
        return 0

    def write_dp(self, address: int, value: int) -> None:
        """Writes a debug port register."""
        if address == DP_ABORT:
            for bit, flag in _STICKY_CLEARS.items():
                if value & bit:
                    self._sticky &= ~flag
        elif address == DP_CTRL_STAT and self._select & 0xF == 0:
            self._control = value & (_REQUESTS | 0x00000F0D)
        elif address == DP_SELECT:
            self._select = value

    # --- access port; the address carries the port's number in its top byte ---

    def read_ap(self, address: int) -> int:
        """An access port register. Raises BusError."""
        if address >> 24:
            if self.control_ap is not None and address >> 24 == CTRL_AP:
                return self.control_ap.read(address & 0xFC)
            return 0
        register = address & 0xFC
        if register == AP_DRW:
            return self._transfer_read()
        if AP_BD0 <= register <= AP_BD0 + 12:
            return struct.unpack("<I", self._faulting_read(self._banked(register), 4))[0]  # type: ignore[no-any-return]
        enabled = 0 if self._locked else _CSW_DEVICEEN
        values = {AP_CSW: self._csw | enabled, AP_TAR: self._tar, AP_BASE: _BASE, AP_IDR: self._core.ap_idr}
        return values.get(register, 0)

    def write_ap(self, address: int, value: int) -> None:
        """Writes an access port register. Raises BusError."""
        if address >> 24:
            if self.control_ap is not None and address >> 24 == CTRL_AP:
                self.control_ap.write(address & 0xFC, value)
            return
        register = address & 0xFC
        if register == AP_DRW:
            self._transfer_write(value)
        elif AP_BD0 <= register <= AP_BD0 + 12:
            self._faulting_write(self._banked(register), struct.pack("<I", value), 4)
        elif register == AP_TAR:
            self._tar = value
        elif register == AP_CSW:
            if value & 7 > 2:  # no transfers wider than a word
                value = value & ~7 | 2
            if value & 0x30 > 0x10:  # no packed transfers
                value = value & ~0x30 | 0x10
            self._csw = value & _CSW_WRITABLE

    def _banked(self, register: int) -> int:
        return self._tar & ~0xF | register - AP_BD0

    @property
    def _size(self) -> int:
        return 1 << (self._csw & 7)

    def _advance(self) -> None:
        if self._csw & 0x30:
            self._tar = self._tar & ~(_WRAP - 1) | self._tar + self._size & (_WRAP - 1)

    def _transfer_read(self) -> int:
        """The bytes appear in the lanes of their address."""
        lane = 8 * (self._tar & 3)
        value = int.from_bytes(self._faulting_read(self._tar, self._size), "little") << lane
        self._advance()
        return value & 0xFFFFFFFF

    def _transfer_write(self, value: int) -> None:
        size = self._size
        lane = 8 * (self._tar & 3)
        data = (value >> lane & (1 << 8 * size) - 1).to_bytes(size, "little")
        self._faulting_write(self._tar, data, size)
        self._advance()

    def check_unlocked(self) -> None:
        """Raises BusError for a transfer of a part that is protected."""
        if self._locked:
            raise BusError("access port protection is on (UICR.APPROTECT)")

    def _faulting_read(self, address: int, size: int) -> bytes:
        """An error of the bus stays in CTRL/STAT until ABORT clears it, and fails every transfer until then."""
        if self._sticky & STICKYERR:
            raise BusError("an earlier transfer failed: clear STICKYERR")
        try:
            self.check_unlocked()
            return self._bus.read(address, size)
        except BusError:
            self._sticky |= STICKYERR
            raise

    def _faulting_write(self, address: int, data: bytes, size: int) -> None:
        if self._sticky & STICKYERR:
            raise BusError("an earlier transfer failed: clear STICKYERR")
        try:
            self.check_unlocked()
            self._bus.write(address, data, size)
        except BusError:
            self._sticky |= STICKYERR
            raise
