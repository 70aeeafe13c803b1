"""What the bus and the core need of a flash controller, whoever made it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

from bench.virtual.nonvolatile import NonVolatile
from bench.virtual.parts import Region


class BusError(Exception):
    """An access that the bus answers with an error: nothing there, or not like this."""


class FlashController(ABC):
    """Registers at `region`, and the rules under which a store to flash programs it.

    A model has no busy time of its own: an operation is over when the store that starts it is, but a status register
    with a busy bit shows it once after an erase, so that code which does not wait is found out.
    """

    region: ClassVar[Region]

    def __init__(self, flash: NonVolatile) -> None:
        self.flash = flash

    @abstractmethod
    def reset(self) -> None:
        """Back to the state after a system reset."""

    @abstractmethod
    def read(self, offset: int) -> int:
        """A 32-bit register."""

    @abstractmethod
    def write(self, offset: int, value: int) -> None:
        """Stores to a 32-bit register."""

    @abstractmethod
    def store(self, memory: NonVolatile, offset: int, data: bytes) -> None:
        """A store of 1, 2, 4 or 8 bytes to `offset` of a non-volatile memory; raises BusError where the bus would."""


class KeyLock:
    """ST's two-key sequence: any wrong step locks the register until the next reset (RM0090 3.6.1, RM0351 3.3.5)."""

    KEYS = (0x45670123, 0xCDEF89AB)

    def __init__(self) -> None:
        self.locked = True
        self._next = 0
        self._jammed = False

    def key(self, value: int) -> None:
        """A write to the key register; without effect while unlocked."""
        if not self.locked:
            return
        if self._jammed or value != self.KEYS[self._next]:
            self._jammed = True
        elif self._next == 0:
            self._next = 1
        else:
            self.locked, self._next = False, 0

    def lock(self) -> None:
        """Sets the lock; the keys open it again."""
        self.locked, self._next = True, 0
