"""Nordic's own access port, and the protection that it can lift (nRF52840 Product Specification, chapter Debug and
trace, CTRL-AP)."""

from __future__ import annotations

from collections.abc import Callable

from bench.virtual.nonvolatile import NonVolatile

NUMBER = 1
RESET, ERASEALL, ERASEALLSTATUS, APPROTECTSTATUS, IDR = 0x000, 0x004, 0x008, 0x00C, 0x0FC
_IDR = 0x02880000
_APPROTECT = 0x208  # in UICR
_UNPROTECTED = (0xFF, 0x5A)  # as erased, and HwDisabled


class ControlAp:
    """A part of a build code before F0: it is protected when UICR says so, from the next reset on. `erase` clears all
    memories, `reset` drives the core's reset."""

    def __init__(self, uicr: NonVolatile, erase: Callable[[], None], reset: Callable[[bool], None]) -> None:
        self._uicr = uicr
        self._erase = erase
        self._drive_reset = reset
        self._reset = 0
        self.locked = False
        self.system_reset()

    def system_reset(self) -> None:
        """UICR is read."""
        self.locked = self._uicr.read(_APPROTECT, 1)[0] not in _UNPROTECTED

    def read(self, register: int) -> int:
        """A register; an erase is over when the store that starts it is."""
        return {IDR: _IDR, APPROTECTSTATUS: int(not self.locked), RESET: self._reset}.get(register, 0)

    def write(self, register: int, value: int) -> None:
        """Stores to a register."""
        if register == ERASEALL and value & 1:
            self._erase()
            self.locked = False
        elif register == RESET and value & 1 != self._reset:
            self._reset = value & 1
            self._drive_reset(bool(self._reset))
