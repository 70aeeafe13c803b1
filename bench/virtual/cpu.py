"""The core that executes what a debugger loads to RAM: pyOCD's flash algorithms, by Unicorn. And, on parts that QEMU
does not have, the image.

Unicorn is GPL-2.0 and an extra (`virtual`); this is the only module that imports it. It translates natively: there is
no hook of Python's on instructions or blocks. Stores to flash and accesses to peripherals come to Python.

Flash is a copy of the non-volatile memory, which Unicorn may spoil: it carries out a trapped store even where the
flash controller refuses it, or clears fewer bits. The copy is mended at the next access that comes to Python, and at
the end of each run; the non-volatile memory itself only ever changes by the controller's rules.
"""

from __future__ import annotations

import ctypes
import functools
import mmap
import struct
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

from bench.errors import ConfigError, InfrastructureError
from bench.virtual.flash_controller import BusError
from bench.virtual.nonvolatile import NonVolatile
from bench.virtual.parts import Part, Region

try:
    import unicorn as _unicorn
    from unicorn import arm_const
except ImportError as error:
    raise ConfigError(
        "virtual boards execute flash algorithms with Unicorn, which is missing: pip install 'ftte-bench[virtual]'"
    ) from error

unicorn: Any = _unicorn  # its annotations are partial
_PAGE = 4096
_NOWHERE = 0xFFFFFFFE  # an end address that no program reaches
_PERIPHERALS = (Region(0x40000000, 0x20000000), Region(0xE0000000, 0x00100000))
BREAKPOINT = 7  # QEMU's EXCP_BKPT
_MODELS = {
    "cortex-m0": arm_const.UC_CPU_ARM_CORTEX_M0,
    "cortex-m3": arm_const.UC_CPU_ARM_CORTEX_M3,
    "cortex-m4": arm_const.UC_CPU_ARM_CORTEX_M4,
}
HOOK_BLOCK, HOOK_CODE = unicorn.UC_HOOK_BLOCK, unicorn.UC_HOOK_CODE
_THUMB = 1 << 24
_IPSR = 0x1FF
_FPCA, _SFPA = 1 << 2, 1 << 3  # of CONTROL
_MASKS = {size: (1 << 8 * size) - 1 for size in (1, 2, 4, 8)}

# Debug core register numbers (DCRSR.REGSEL) to Unicorn's; 18, 20 and others that no flash algorithm needs are stored.
REGISTERS: dict[int, int] = {
    **{number: arm_const.UC_ARM_REG_R0 + number for number in range(13)},
    13: arm_const.UC_ARM_REG_SP,
    14: arm_const.UC_ARM_REG_LR,
    15: arm_const.UC_ARM_REG_PC,
    16: arm_const.UC_ARM_REG_XPSR,
    17: arm_const.UC_ARM_REG_SP,
}
_FLOATS = {0x40 + number: arm_const.UC_ARM_REG_S0 + number for number in range(32)}
PC, SP, LR, XPSR, SPECIAL, FPSCR = 15, 13, 14, 16, 20, 33


class Stop(Enum):
    """Why a run ended."""

    TIME = "time"  # it has not ended by itself
    BREAKPOINT = "breakpoint"  # a BKPT instruction or a comparator
    FAULT = "fault"  # an exception: there is no handler in what a debugger loads
    REQUEST = "request"  # a peripheral access asked for it: a reset


@dataclass(frozen=True)
class Ports:
    """Where accesses of the core go; addresses are absolute."""

    read: Callable[[int, int], int]  # address, size
    write: Callable[[int, int, int], None]  # address, size, value
    store: Callable[[NonVolatile, int, bytes], None]  # memory and offset in it


@dataclass(frozen=True)
class BadAccess:
    """An access to an address where nothing is."""

    address: int
    fetch: bool


@dataclass(frozen=True)
class Ended:
    """How a run of the image ended: at most one of these; none after WFI, or when a hook of C's has ended it."""

    exception: int | None = None  # QEMU's number of a BKPT, SVC, or the return from an exception
    access: BadAccess | None = None
    refused: BusError | None = None  # by a device or a memory
    undefined: bool = False  # an instruction that the core does not have


class Engine:
    """Unicorn itself, for hooks that are not written in Python: its functions' addresses, and registers' numbers."""

    primask: int = arm_const.UC_ARM_REG_PRIMASK
    registers: tuple[int, ...] = (
        *(arm_const.UC_ARM_REG_R0 + number for number in range(13)),
        arm_const.UC_ARM_REG_SP,
        arm_const.UC_ARM_REG_LR,
        arm_const.UC_ARM_REG_PC,
    )

    def __init__(self, uc: Any) -> None:
        self._uc = uc
        self._library = _unicorn_library()

    @property
    def handle(self) -> Any:
        """What the library's functions take as first argument."""
        return self._uc._uch

    def address_of(self, function: str) -> int | None:
        """Of a function of the library that is loaded."""
        return ctypes.cast(getattr(self._library, function), ctypes.c_void_p).value

    def hook(self, kind: int, callback: int | None, user: Any, begin: int, end: int) -> int:
        """Adds a hook on the addresses from `begin` to `end`, both included; on all of them when `end` is less."""
        number = ctypes.c_size_t()
        error = self._library.uc_hook_add(
            self.handle,
            ctypes.byref(number),
            kind,
            ctypes.c_void_p(callback),
            ctypes.cast(user, ctypes.c_void_p),
            ctypes.c_uint64(begin),
            ctypes.c_uint64(end),
        )
        if error:
            raise InfrastructureError(f"Unicorn takes no hook: error {error}")
        return number.value

    def unhook(self, number: int) -> None:
        """Removes a hook; to be followed by flush()."""
        self._library.uc_hook_del(self.handle, ctypes.c_size_t(number))

    def flush(self) -> None:
        """Forgets all translations, which have hooks built in."""
        self._uc.ctl_flush_tb()


def _unicorn_library() -> Any:
    from unicorn.unicorn_py3 import unicorn as binding

    return binding.uclib


def _address_of(buffer: mmap.mmap) -> int:
    return ctypes.addressof(ctypes.c_char.from_buffer(buffer))


def _pages(size: int) -> int:
    return (size + _PAGE - 1) // _PAGE * _PAGE


class _Copy:
    """The core's own copy of a non-volatile memory."""

    def __init__(self, memory: NonVolatile) -> None:
        self.memory = memory
        self.data = mmap.mmap(-1, _pages(memory.region.size))
        self.data[:] = b"\xff" * len(self.data)
        self.refresh(0, memory.region.size)

    def refresh(self, offset: int, size: int) -> None:
        self.data[offset : offset + size] = self.memory.read(offset, size)


class Cpu:
    """RAM buffers in `ram` are shared with the bus; registers keep their values between runs."""

    def __init__(self, part: Part, memories: list[NonVolatile], ports: Ports) -> None:
        self._part = part
        self._ports = ports
        self._uc: Any = unicorn.Uc(unicorn.UC_ARCH_ARM, unicorn.UC_MODE_THUMB | unicorn.UC_MODE_MCLASS)
        self._uc.ctl_set_cpu_model(_MODELS[part.core.name])
        self.ram = [(region, mmap.mmap(-1, _pages(region.size))) for region in part.ram]
        for region, buffer in self.ram:
            self._uc.mem_map_ptr(region.base, len(buffer), unicorn.UC_PROT_ALL, _address_of(buffer))
        self._storing: tuple[int, int] | None = None  # offset and size of the core's own store in progress
        self._copies = [_Copy(memory) for memory in memories]
        self._ranges: list[tuple[int, int, _Copy]] = []
        for copy in self._copies:
            copy.memory.listeners.append(functools.partial(self._changed, copy))
            self._map_copy(copy.memory.region.base, copy)
        for alias in part.flash_aliases:
            self._map_copy(alias, self._copies[0])
        self._map_factory()
        for region in _PERIPHERALS:
            base = region.base
            self._uc.mmio_map(base, region.size, self._peripheral_read, base, self._peripheral_write, base)
        self._uc.hook_add(unicorn.UC_HOOK_MEM_WRITE_PROT, self._constant_written)
        self._uc.hook_add(unicorn.UC_HOOK_INTR, self._interrupted)
        self._uc.hook_add(unicorn.UC_HOOK_MEM_UNMAPPED, self._nothing_there)
        self.engine = Engine(self._uc)
        self._other: dict[int, int] = {}  # registers that are only kept
        self._spoilt: list[tuple[_Copy, int, int]] = []
        self._breakpoints: dict[int, int] = {}
        self._stop = Stop.TIME
        self._fault: BusError | None = None
        self._exception: int | None = None
        self._access: BadAccess | None = None
        self.executing = False  # by this core, now: a register is accessed by it, not by a debugger
        self._deadline = _Deadline(self._uc.emu_stop)

    def _map_constant(self, base: int, buffer: mmap.mmap) -> None:
        protection = unicorn.UC_PROT_READ | unicorn.UC_PROT_EXEC
        self._uc.mem_map_ptr(base, len(buffer), protection, _address_of(buffer))

    def _map_copy(self, base: int, copy: _Copy) -> None:
        self._map_constant(base, copy.data)
        self._ranges.append((base, base + copy.memory.region.size, copy))

    def _changed(self, copy: _Copy, offset: int, size: int) -> None:
        if self._storing == (offset, size):
            return  # Unicorn does it
        if self._storing is not None:
            self._spoilt.append((copy, offset, size))
            return
        copy.refresh(offset, size)
        for base, _, mapped in self._ranges:
            if mapped is copy:
                self._uc.ctl_remove_cache(base + offset, base + offset + size)

    def _map_factory(self) -> None:
        """Read-only memory is mapped in whole pages; two blocks may share one."""
        self._factory: dict[int, mmap.mmap] = {}
        for base, data in self._part.factory.items():
            page = base // _PAGE * _PAGE
            if page not in self._factory:
                self._factory[page] = mmap.mmap(-1, _PAGE)
                self._factory[page][:] = b"\xff" * _PAGE
                self._map_constant(page, self._factory[page])
            self._factory[page][base - page : base - page + len(data)] = data

    # --- registers ---

    def read_register(self, number: int) -> int:
        """A core register by its DCRSR number."""
        if number in REGISTERS:
            value = int(self._uc.reg_read(REGISTERS[number]))
            if number == XPSR and XPSR in self._other:
                return value & ~_IPSR | self._other[XPSR] & (_IPSR | _THUMB)
            return value
        if number in _FLOATS and self._part.core.name == "cortex-m4":
            return int(self._uc.reg_read(_FLOATS[number]))
        if number == SPECIAL:
            names = (arm_const.UC_ARM_REG_PRIMASK, arm_const.UC_ARM_REG_BASEPRI, arm_const.UC_ARM_REG_FAULTMASK)
            return sum(int(self._uc.reg_read(name)) << 8 * at for at, name in enumerate(names)) | self.control << 24
        if number == FPSCR:
            return int(self._uc.reg_read(arm_const.UC_ARM_REG_FPSCR))
        return self._other.get(number, 0)

    def write_register(self, number: int, value: int) -> None:
        """Sets a core register by its DCRSR number."""
        if number == XPSR:
            # Kept apart: an exception number would put Unicorn in handler mode, with another stack pointer.
            self._other[XPSR] = value
            self._uc.reg_write(REGISTERS[XPSR], value & ~_IPSR | _THUMB)
        elif number in REGISTERS:
            self._uc.reg_write(REGISTERS[number], value & ~1 if number == PC else value)
        elif number in _FLOATS and self._part.core.name == "cortex-m4":
            self._uc.reg_write(_FLOATS[number], value)
        elif number == FPSCR:
            self._uc.reg_write(arm_const.UC_ARM_REG_FPSCR, value)
        else:
            self._other[number] = value

    def reset_registers(self, stack: int, entry: int) -> None:
        """As after a reset with this vector table: R0–R12 are unknown on hardware, 0 here."""
        self._uc.reg_write(REGISTERS[XPSR], _THUMB)
        for name in (arm_const.UC_ARM_REG_CONTROL, arm_const.UC_ARM_REG_PRIMASK):
            self._uc.reg_write(name, 0)
        for number in range(13):
            self.write_register(number, 0)
        self._other.clear()
        self.write_register(LR, 0xFFFFFFFF)
        self.write_register(SP, stack & ~3)
        self.write_register(PC, entry)
        self.write_register(XPSR, _THUMB)

    @property
    def control(self) -> int:
        """CONTROL; of Unicorn's bits those that this architecture has."""
        return int(self._uc.reg_read(arm_const.UC_ARM_REG_CONTROL)) & 7

    @control.setter
    def control(self, value: int) -> None:
        # Unicorn's core has a security extension: without SFPA beside FPCA it would begin a new context, FPSCR cleared.
        self._uc.reg_write(arm_const.UC_ARM_REG_CONTROL, value | (_SFPA if value & _FPCA else 0))

    def enter_mode(self, status: int) -> None:
        """Sets xPSR with the number of an exception, 0 for thread mode: the stack pointer follows."""
        self._other.pop(XPSR, None)
        self._uc.reg_write(arm_const.UC_ARM_REG_XPSR, status | _THUMB)

    @property
    def primask(self) -> bool:
        """Whether interrupts are masked."""
        return bool(self._uc.reg_read(arm_const.UC_ARM_REG_PRIMASK))

    def load(self, address: int, words: int) -> tuple[int, ...] | None:
        """Words as the core would load them; None where there is no memory."""
        try:
            return struct.unpack(f"<{words}I", self._uc.mem_read(address, 4 * words))
        except unicorn.UcError:
            return None

    def load_half(self, address: int) -> int:
        """The half-word of an instruction; 0 where there is no memory."""
        try:
            return int.from_bytes(self._uc.mem_read(address & 0xFFFFFFFF, 2), "little")
        except unicorn.UcError:
            return 0

    def store(self, address: int, words: Sequence[int]) -> bool:
        """Stores words to RAM; false where there is none."""
        size = 4 * len(words)
        if not any(region.holds(address, size) for region, _ in self.ram):
            return False
        self._uc.mem_write(address, struct.pack(f"<{len(words)}I", *words))
        return True

    # --- running ---

    def invalidate(self, base: int, size: int) -> None:
        """Forgets what was translated from memory that someone else has written."""
        self._uc.ctl_remove_cache(base, base + size)

    def set_breakpoints(self, addresses: frozenset[int]) -> None:
        """The comparators' addresses."""
        if addresses == self._breakpoints.keys():
            return
        for address in self._breakpoints.keys() - addresses:
            self._uc.hook_del(self._breakpoints.pop(address))
        for address in addresses - self._breakpoints.keys():
            self._breakpoints[address] = self._uc.hook_add(
                unicorn.UC_HOOK_CODE, self._at_breakpoint, None, address, address
            )
        self._uc.ctl_flush_tb()

    def run(self, seconds: float) -> Stop:
        """Executes from PC on, for at most about this time."""
        return self._execute(seconds, 0)

    def step(self) -> Stop:
        """Executes one instruction. Unicorn counts by a hook, which is not in what was translated without it."""
        self._uc.ctl_flush_tb()
        try:
            return self._execute(1.0, 1)
        finally:
            self._uc.ctl_flush_tb()

    def stop(self, reason: Stop) -> None:
        """Ends the run from within a peripheral access."""
        self._stop = reason
        self._uc.emu_stop()

    def run_image(self, *, resumed: bool) -> Ended:
        """Executes the image from PC on, until a hook or WFI ends it, or something that only its owner can do.

        `resumed`: by a debugger, so that a breakpoint at PC does not halt it again.
        """
        self._other.pop(XPSR, None)
        self._fault = self._exception = self._access = None
        self._stop = Stop.TIME
        self._resumed_at = self.read_register(PC) if resumed else -1
        undefined = False
        self.executing = True
        try:
            self._uc.emu_start(self.read_register(PC) | 1, _NOWHERE)
        except unicorn.UcError as error:
            undefined = error.errno == unicorn.UC_ERR_INSN_INVALID
            if not undefined and self._access is None and self._fault is None:
                self._fault = BusError(str(error))
        finally:
            self.executing = False
            self._mend()
        exception = BREAKPOINT if self._stop is Stop.BREAKPOINT else self._exception
        return Ended(exception, self._access, self._fault, undefined)

    def _execute(self, seconds: float, count: int) -> Stop:
        self._stop, self._fault = Stop.TIME, None
        self._resumed_at = self.read_register(PC)
        self._deadline.set(time.monotonic() + seconds)
        self.executing = True
        try:
            self._uc.emu_start(self._resumed_at | 1, _NOWHERE, 0, count)
        except unicorn.UcError:
            self._stop = Stop.FAULT
        finally:
            self.executing = False
            self._deadline.clear()
            self._mend()
        return Stop.FAULT if self._fault is not None else self._stop

    def _mend(self) -> None:
        for copy, offset, size in self._spoilt:
            copy.refresh(offset, size)
        self._spoilt.clear()

    def _peripheral_read(self, _uc: Any, offset: int, size: int, base: int) -> int:
        if self._spoilt:
            self._mend()
        try:
            return self._ports.read(base + offset, size)
        except BusError as fault:
            self._fail(fault)
            return 0

    def _peripheral_write(self, _uc: Any, offset: int, size: int, value: int, base: int) -> None:
        if self._spoilt:
            self._mend()
        try:
            self._ports.write(base + offset, size, value)
        except BusError as fault:
            self._fail(fault)

    def _constant_written(self, _uc: Any, _access: int, address: int, size: int, value: int, _data: Any) -> bool:
        """Tens of thousands of calls for an image. Unicorn then stores `value` to the copy, come what may."""
        if self._spoilt:
            self._mend()
        copy, offset = self._locate(address)
        if copy is None:
            self._fail(BusError(f"0x{address:08x} is read-only memory"))
            return True
        data = (value & _MASKS[size]).to_bytes(size, "little")
        self._storing = (offset, size)
        try:
            self._ports.store(copy.memory, offset, data)
        except BusError as fault:
            self._fail(fault)
        finally:
            self._storing = None
        if copy.memory.read(offset, size) != data:
            self._spoilt.append((copy, offset, size))
        return True

    def _locate(self, address: int) -> tuple[_Copy | None, int]:
        for base, end, copy in self._ranges:
            if base <= address < end:
                return copy, address - base
        return None, 0

    def _nothing_there(self, _uc: Any, access: int, address: int, _size: int, _value: int, _data: Any) -> bool:
        """With this hook Unicorn leaves PC at the instruction."""
        self._access = BadAccess(address & 0xFFFFFFFF, access == unicorn.UC_MEM_FETCH_UNMAPPED)
        return False

    def _interrupted(self, _uc: Any, number: int, _data: Any) -> None:
        self._exception = number
        self.stop(Stop.BREAKPOINT if number == BREAKPOINT else Stop.FAULT)

    def _at_breakpoint(self, _uc: Any, address: int, _size: int, _data: Any) -> None:
        if address != self._resumed_at:  # a resume executes the instruction that it halted at
            self.stop(Stop.BREAKPOINT)
        self._resumed_at = -1

    def _fail(self, fault: BusError) -> None:
        self._fault = fault
        self._uc.emu_stop()

    @property
    def fault(self) -> BusError | None:
        """The bus fault that ended the last run."""
        return self._fault

    def close(self) -> None:
        """Ends the thread that bounds runs."""
        self._deadline.close()


class _Deadline:
    """Calls `expire` when a run takes too long: Unicorn's own time-out starts a thread each time, and polls."""

    def __init__(self, expire: Callable[[], None]) -> None:
        self._expire = expire
        self._at: float | None = None
        self._sleeping = False  # until somebody sets a deadline
        self._closed = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._watch, name="deadline", daemon=True)
        self._thread.start()

    def set(self, at: float) -> None:
        with self._changed:
            self._at = at
            if self._sleeping:
                self._changed.notify()

    def clear(self) -> None:
        with self._changed:
            self._at = None

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join()

    def _watch(self) -> None:
        with self._changed:
            while not self._closed:
                if self._at is None:
                    self._sleeping = True
                    self._changed.wait()
                    self._sleeping = False
                    continue
                left = self._at - time.monotonic()
                if left > 0:
                    self._changed.wait(left)
                else:
                    self._at = None
                    self._expire()
