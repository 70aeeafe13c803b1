"""The bus: what lies at which address, for the debugger's access port and for the core."""

from __future__ import annotations

import mmap
import struct
from collections.abc import Callable
from typing import Protocol

from bench.virtual.flash_controller import BusError, FlashController
from bench.virtual.nonvolatile import NonVolatile
from bench.virtual.parts import Part, Region

PERIPHERALS = Region(0x40000000, 0x20000000)
PRIVATE = Region(0xE0000000, 0x00100000)


class RegisterBlock(Protocol):
    """32-bit registers at absolute addresses."""

    def read(self, address: int) -> int:
        """A register."""

    def write(self, address: int, value: int) -> None:
        """Stores to a register."""


class LookedAt:
    """Peripherals of a machine elsewhere, which a debugger can look at, and not change."""

    def __init__(self, peek: Callable[[int], int | None]) -> None:
        self._peek = peek

    def read(self, address: int) -> int:
        """A register; 0 where nothing is, or nothing runs."""
        return self._peek(address) or 0

    def write(self, address: int, value: int) -> None:
        """Has no effect."""


class Bus:
    """Peripherals that nobody has modelled read as 0 and ignore stores, as unclocked ones do; reserved areas fault."""

    def __init__(
        self,
        part: Part,
        memories: list[NonVolatile],
        controller: FlashController,
        ram: list[tuple[Region, mmap.mmap]],
    ) -> None:
        self._part = part
        self._memories = memories
        self._controller = controller
        self._controller_base, self._controller_end = controller.region.base, controller.region.end
        self._ram = ram
        self._private: RegisterBlock | None = None
        self._devices: RegisterBlock | None = None
        self.on_ram_read: Callable[[], None] = lambda: None  # before the debugger reads RAM
        self.on_ram_written: Callable[[int, int], None] = lambda _address, _size: None  # after the debugger wrote RAM

    def attach(self, private: RegisterBlock) -> None:
        """The core's own registers, at 0xE0000000."""
        self._private = private

    def attach_devices(self, devices: RegisterBlock) -> None:
        """Peripherals that somebody has modelled."""
        self._devices = devices

    # --- registers ---

    def read_register(self, address: int, size: int) -> int:
        """A peripheral register or part of it; `size` in bytes."""
        if size == 4:
            return self._read_word(address)
        word = self._read_word(address & ~3)
        return word >> 8 * (address & 3) & (1 << 8 * size) - 1

    def write_register(self, address: int, size: int, value: int) -> None:
        """Stores to a peripheral register; a narrow store leaves the other bytes as they read."""
        base = address & ~3
        if size < 4:
            mask = (1 << 8 * size) - 1 << 8 * (address & 3)
            value = self._read_word(base) & ~mask | value << 8 * (address & 3) & mask
        self._write_word(base, value & 0xFFFFFFFF)

    def _read_word(self, address: int) -> int:
        if self._controller_base <= address < self._controller_end:
            return self._controller.read(address - self._controller_base)
        if address in self._part.registers:
            return self._part.registers[address]
        if PRIVATE.holds(address) and self._private is not None:
            return self._private.read(address)
        if PERIPHERALS.holds(address):
            return self._devices.read(address) if self._devices is not None else 0
        raise BusError(f"nothing at 0x{address:08x}")

    def _write_word(self, address: int, value: int) -> None:
        if self._controller_base <= address < self._controller_end:
            self._controller.write(address - self._controller_base, value)
        elif PRIVATE.holds(address) and self._private is not None:
            self._private.write(address, value)
        elif not PERIPHERALS.holds(address):
            raise BusError(f"nothing at 0x{address:08x}")
        elif self._devices is not None:
            self._devices.write(address, value)

    # --- memories ---

    def _non_volatile(self, address: int, size: int) -> tuple[NonVolatile, int] | None:
        for memory in self._memories:
            if memory.region.holds(address, size):
                return memory, address - memory.region.base
        flash = self._memories[0]
        for alias in self._part.flash_aliases:
            if alias <= address and address + size <= alias + flash.region.size:
                return flash, address - alias
        return None

    def _ram_at(self, address: int, size: int) -> tuple[mmap.mmap, int] | None:
        for region, buffer in self._ram:
            if region.holds(address, size):
                return buffer, address - region.base
        return None

    def read(self, address: int, size: int) -> bytes:
        """Debugger: `size` bytes. Raises BusError."""
        if ram := self._ram_at(address, size):
            self.on_ram_read()
            return ram[0][ram[1] : ram[1] + size]
        if found := self._non_volatile(address, size):
            return found[0].read(found[1], size)
        for base, data in self._part.factory.items():
            if base <= address and address + size <= base + len(data):
                return data[address - base : address - base + size]
        return self._read_registers(address, size)

    def _read_registers(self, address: int, size: int) -> bytes:
        start, end = address & ~3, address + size + 3 & ~3
        if not any(region.holds(start, end - start) for region in (PERIPHERALS, PRIVATE)):
            raise BusError(f"nothing at 0x{address:08x}, {size} bytes")
        words = b"".join(struct.pack("<I", self._read_word(at)) for at in range(start, end, 4))
        return words[address - start : address - start + size]

    def write(self, address: int, data: bytes, unit: int) -> None:
        """Debugger: stores of `unit` bytes each (1, 2 or 4; `data` is a multiple of it). Raises BusError."""
        size = len(data)
        if ram := self._ram_at(address, size):
            ram[0][ram[1] : ram[1] + size] = data
            self.on_ram_written(address, size)
        elif found := self._non_volatile(address, size):
            for at in range(0, size, unit):
                self._controller.store(found[0], found[1] + at, data[at : at + unit])
        else:
            for at in range(0, size, unit):
                self.write_register(address + at, unit, int.from_bytes(data[at : at + unit], "little"))
