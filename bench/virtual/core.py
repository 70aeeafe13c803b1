"""The core's debug registers (Armv7-M ARM, chapter C1; Armv6-M ARM, chapter C1) and who executes when.

What runs from RAM (a flash algorithm) is executed by Unicorn, while the debugger watches: each look at DHCSR gives it
a slice of time. What runs from flash is the image, in QEMU. Halting freezes QEMU and fetches its RAM and registers;
if nothing is changed, resuming lets it go on. A debugger that changes registers, RAM or flash and then resumes into
flash gets the image from its reset vector instead. An image that runs on Unicorn too shares core and memory with the
debugger: halting stops it where it is, and resuming goes on with what the debugger has made of it.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from enum import Enum
from typing import Protocol

from bench.virtual.cpu import PC, Cpu, Stop
from bench.virtual.exceptions import Exceptions
from bench.virtual.nonvolatile import NonVolatile
from bench.virtual.nrf52 import RESET_SOFTWARE
from bench.virtual.parts import Part
from bench.virtual.rom_table import rom_table

CPUID, ICSR, VTOR, AIRCR = 0xE000ED00, 0xE000ED04, 0xE000ED08, 0xE000ED0C
DFSR, DHCSR, DCRSR, DCRDR, DEMCR = 0xE000ED30, 0xE000EDF0, 0xE000EDF4, 0xE000EDF8, 0xE000EDFC
SCS, SCS_END = 0xE000E000, 0xE000F000
FP_CTRL, FP_COMP0 = 0xE0002000, 0xE0002008
DWT_CTRL = 0xE0001000

C_DEBUGEN, C_HALT, C_STEP, C_MASKINTS = 1, 2, 4, 8
S_REGRDY, S_HALT, S_LOCKUP, S_RETIRE_ST, S_RESET_ST = 1 << 16, 1 << 17, 1 << 19, 1 << 24, 1 << 25
DFSR_HALTED, DFSR_BKPT, DFSR_VCATCH = 1, 2, 8
VC_CORERESET = 1
TRCENA = 1 << 24  # DEMCR: the debug unit counts
DHCSR_KEY, AIRCR_KEY = 0xA05F, 0x05FA
SYSRESETREQ, VECTRESET = 4, 1

SLICE_S = 0.05  # of RAM code, for each look at DHCSR
CORE_RESET_REGISTERS = {AIRCR: 0xFA050000}


class Image(Protocol):
    """The flashed image as it runs."""

    @property
    def shares_state(self) -> bool:
        """Whether its registers and its RAM are those that the debugger sees."""

    @property
    def running(self) -> bool:
        """Whether it executes now."""

    def start(self, *, keep_ram: bool) -> bool:
        """Runs from reset; False when flash holds nothing to run."""

    def pause(self) -> dict[int, int]:
        """Freezes it, copies its RAM and returns its core registers by DCRSR number."""

    def resume(self) -> None:
        """Lets it go on where it was paused."""

    def stop(self) -> None:
        """Ends it."""

    def peek(self, address: int) -> int | None:
        """A register of the machine that it runs on; None when there is no such machine, or no such register."""

    def ask_for_reset(self, reason: int) -> None:
        """The core itself wants a system reset: to be done when its run is over. Of those that share their state."""


class State(Enum):
    """What the core does."""

    HALTED = "halted"
    RAM = "running from RAM"
    IMAGE = "running from flash"
    LOCKUP = "locked up"  # nothing to run, or a fault without a handler
    RESET = "held in reset"


class Core:
    """Registers at 0xE0000000 to 0xE00FFFFF, and run control."""

    def __init__(self, part: Part, cpu: Cpu, flash: NonVolatile, image: Image) -> None:
        self._part = part
        self._cpu = cpu
        self._flash = flash
        self._image = image
        self._rom = rom_table(part.core)
        self._registers: dict[int, int] = {}
        self._dhcsr = 0
        self._sticky = S_RESET_ST
        self._dfsr = 0
        self._demcr = 0
        self._dcrdr = 0
        self.state = State.LOCKUP
        self._pristine = False  # QEMU is paused, and nothing was changed since
        self._version = -1  # of the flash that QEMU runs from
        self._pending_reset = False
        self.on_reset: Callable[[], None] = self.reset  # the board's resets the rest of the part as well
        self.system: Exceptions | None = None  # of a core whose image runs on Unicorn

    # --- the bus ---

    def read(self, address: int) -> int:
        """A register; what is not modelled keeps what was written."""
        if address == DHCSR:
            return self._read_dhcsr()
        if address in self._rom:
            return self._rom[address]
        if address == CPUID:
            return self._part.core.cpuid
        if address in self._part.core.identification:
            return self._part.core.identification[address]
        if address == FP_CTRL:
            return self._part.core.breakpoints << 4 | self._registers.get(FP_CTRL, 0) & 1
        if address == DWT_CTRL:
            return self._part.core.watchpoints << 28 | self._registers.get(DWT_CTRL, 0) & 0x0FFFFFFF
        known = {DFSR: self._dfsr, DEMCR: self._demcr, DCRDR: self._dcrdr, DCRSR: 0}
        if address in known:
            return known[address]
        if self.system is not None and self.system.has(address):
            return self.system.read(address)
        if address not in self._registers and SCS <= address < SCS_END:
            return self._image.peek(address) or 0
        return self._registers.get(address, 0)

    def write(self, address: int, value: int) -> None:
        """Stores to a register."""
        if address == DHCSR:
            if value >> 16 == DHCSR_KEY:
                self._control(value & 0xFFFF)
        elif address == DCRSR:
            self._transfer_register(value)
        elif address == DCRDR:
            self._dcrdr = value
        elif address == DEMCR:
            self._monitor(value)
        elif address == DFSR:
            self._dfsr &= ~value
        elif address == AIRCR:
            if value >> 16 == AIRCR_KEY and value & (SYSRESETREQ | VECTRESET):
                self._request_reset()
        elif address == FP_CTRL:
            if value & 2:  # the key bit
                self._registers[address] = value & 1
        else:
            self._registers[address] = value
            if self.system is not None:
                self.system.write(address, value)

    def _read_dhcsr(self) -> int:
        if self.state is State.RAM:
            self._run_slice()
        value = self._dhcsr | S_REGRDY | self._sticky
        if self.state is State.HALTED:
            value |= S_HALT
        elif self.state is State.LOCKUP:
            value |= S_LOCKUP
        self._sticky = S_RESET_ST if self.state is State.RESET else 0
        if self.state in (State.RAM, State.IMAGE):
            self._sticky |= S_RETIRE_ST
        return value

    def _transfer_register(self, value: int) -> None:
        number = value & 0x7F
        if self.state is not State.HALTED:
            return
        if value & 1 << 16:
            self._cpu.write_register(number, self._dcrdr)
            self._pristine = False
        else:
            self._dcrdr = self._cpu.read_register(number) & 0xFFFFFFFF

    # --- run control ---

    def _control(self, value: int) -> None:
        enabled = value & C_DEBUGEN
        self._dhcsr = value & (C_DEBUGEN | C_HALT | C_STEP | C_MASKINTS) if enabled else 0
        halt = bool(self._dhcsr & C_HALT)
        if self.state is State.RESET:
            return
        if halt and self.state is not State.HALTED:
            self._halt()
        elif not halt and self.state is State.HALTED:
            if self._dhcsr & C_STEP:
                self._step()
            else:
                self._resume()

    def _halt(self) -> None:
        if self.state is State.IMAGE and self._image.running:
            for number, value in self._image.pause().items():
                self._cpu.write_register(number, value)
            self._pristine = True
        self._halted(DFSR_HALTED)

    def _halted(self, cause: int) -> None:
        self.state = State.HALTED
        self._dfsr |= cause
        self._dhcsr |= C_HALT

    def _resume(self) -> None:
        if self._in_ram(self._cpu.read_register(PC)):
            self.abandon_image()
            self.state = State.RAM
            self._cpu.set_breakpoints(self._comparators())
            self._run_slice()
        elif self._image.shares_state and not self._flash.is_blank(0, 8):
            self._cpu.set_breakpoints(self._comparators())
            self.state = State.IMAGE
            self._image.resume()
        elif self._pristine and self._version == self._flash.version:
            self._pristine = False
            self._image.resume()
            self.state = State.IMAGE
        else:
            self._start_image(keep_ram=False)

    def _step(self) -> None:
        self._pristine = False
        stop = self._cpu.step()
        self._halted(DFSR_BKPT if stop is Stop.BREAKPOINT else DFSR_HALTED)
        self._reset_if_asked()

    def _run_slice(self) -> None:
        stop = self._cpu.run(SLICE_S)
        if stop is Stop.BREAKPOINT and self._dhcsr & C_DEBUGEN:
            self._halted(DFSR_BKPT)
        elif stop in (Stop.FAULT, Stop.BREAKPOINT):  # BKPT without a debugger is a fault as well
            self.state = State.LOCKUP
        self._reset_if_asked()

    def _in_ram(self, address: int) -> bool:
        return any(region.holds(address) for region in self._part.ram)

    def _comparators(self) -> frozenset[int]:
        """Addresses of the enabled comparators (FPB version 1: bits 31–30 choose the half-words of a word)."""
        found: set[int] = set()
        if self._registers.get(FP_CTRL, 0) & 1:
            for index in range(self._part.core.breakpoints):
                value = self._registers.get(FP_COMP0 + 4 * index, 0)
                if value & 1:
                    word = value & 0x1FFFFFFC
                    found.update(word + 2 * half for half in range(2) if value >> 30 + half & 1)
        return frozenset(found)

    def abandon_image(self) -> None:
        """The image in QEMU has no future: flash or RAM are about to change under it."""
        self._pristine = False
        self._image.stop()

    def memory_written(self) -> None:
        """The debugger wrote RAM: what QEMU has is another state."""
        self._pristine = False

    def image_breakpoint(self) -> bool:
        """The image came to a BKPT or a comparator's address. True when a debugger wants to know."""
        if not self._dhcsr & C_DEBUGEN:
            return False
        self._image.pause()
        self._halted(DFSR_BKPT)
        return True

    def image_ended(self) -> None:
        """The core has locked up; QEMU ends by itself then."""
        if self.state is State.IMAGE:
            self.state = State.LOCKUP
        self._pristine = False

    # --- reset ---

    def hold_reset(self) -> None:
        """nRESET goes low."""
        self._image.stop()
        self._pristine = False
        self.state = State.RESET
        self._sticky = S_RESET_ST

    def power_lost(self) -> None:
        """What a debugger has set is gone with everything else."""
        self.hold_reset()
        self._dhcsr = self._dfsr = 0
        self._monitor(0)
        self._registers.clear()

    def _monitor(self, value: int) -> None:
        """A store to DEMCR."""
        self._demcr = value
        if self.system is not None:
            self.system.enable_trace(bool(value & TRCENA))

    def reset(self) -> None:
        """A system reset, nRESET going high included."""
        self._sticky = S_RESET_ST
        self._registers = {at: v for at, v in self._registers.items() if not 0xE000E000 <= at < 0xE000F000}
        self._registers.update(CORE_RESET_REGISTERS)
        keep_ram = self.state is State.IMAGE or self._pristine
        stack, entry = struct.unpack("<II", self._flash.read(0, 8))
        self._cpu.reset_registers(stack, entry)
        if self.system is not None:
            self.system.reset()
        if self._dhcsr & C_DEBUGEN and self._demcr & VC_CORERESET:
            self.abandon_image()
            self._halted(DFSR_VCATCH)
        else:
            self._dhcsr &= ~C_HALT
            self._start_image(keep_ram=keep_ram and self._version == self._flash.version)

    def _start_image(self, *, keep_ram: bool) -> None:
        self._pristine = False
        self._version = self._flash.version
        self.state = State.IMAGE if self._image.start(keep_ram=keep_ram) else State.LOCKUP

    def _request_reset(self) -> None:
        if self.state is State.RAM:  # the store came from the core itself
            self._pending_reset = True
            self._cpu.stop(Stop.REQUEST)
        elif self._cpu.executing:
            self._image.ask_for_reset(RESET_SOFTWARE)
        else:
            self.on_reset()

    def _reset_if_asked(self) -> None:
        if self._pending_reset:
            self._pending_reset = False
            self.on_reset()
