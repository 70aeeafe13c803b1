"""Exceptions, the interrupt controller and the system control block of a Cortex-M4 on Unicorn, which has none of them.

ARMv7-M Architecture Reference Manual (DDI 0403E): B1.5 exceptions, B3.2 system control, B3.4 NVIC, C1.8 DWT's cycle
counter. SysTick keeps what is written and stands still; tail-chaining and sub-priorities do not exist.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from bench.virtual.cpu import LR, PC, SP, XPSR, Cpu

HARD, MEMORY, BUS, USAGE, SUPERVISOR_CALL, FIRST_INTERRUPT = 3, 4, 5, 6, 11, 16
# Bits of CFSR.
INSTRUCTION_BUS, PRECISE, BUS_STACKING, BUS_ADDRESS_VALID = 1 << 8, 1 << 9, 1 << 12, 1 << 15
UNDEFINED, INVALID_STATE, NO_COPROCESSOR = 1 << 16, 1 << 17, 1 << 19
_FORCED = 1 << 30  # HFSR

ISER, ICER, ISPR, ICPR, IABR, IPR = 0xE000E100, 0xE000E180, 0xE000E200, 0xE000E280, 0xE000E300, 0xE000E400
ICSR, VTOR, SHCSR, CFSR, HFSR, BFAR = 0xE000ED04, 0xE000ED08, 0xE000ED24, 0xE000ED28, 0xE000ED2C, 0xE000ED38
DWT_CTRL, DWT_CYCCNT = 0xE0001000, 0xE0001004
_BANKS = 0x20  # bytes of each of NVIC's arrays of single bits
_FPCA = 1 << 2  # CONTROL: the thread's floating-point registers are in use
_ALIGNED = 1 << 9  # of a stacked xPSR: the stack pointer was moved by 4 more
_BASIC, _EXTENDED = 8, 26  # words of a frame
_S0 = 0x40  # DCRSR's number
_FPSCR = 33
_MASKABLE = 256
_PRIORITY_BITS = 0xE0  # the nRF52 has three


@dataclass(frozen=True)
class Fault:
    """What went wrong: exception number, bits of CFSR, the address if there is one to tell."""

    exception: int
    status: int
    address: int | None = None


class Exceptions:
    """Registers of NVIC and SCB, and what happens when an exception is taken or left."""

    def __init__(self, cpu: Cpu, cycles: Callable[[], int]) -> None:
        self._cpu = cpu
        self._cycles = cycles
        self.on_pending: Callable[[], None] = lambda: None  # an interrupt may be taken now
        self._words: dict[int, int] = {}
        self._traced = False
        self.reset()

    def reset(self) -> None:
        """As after a reset of the core."""
        self._lines = self._pending = self._enabled = 0
        self._active: list[int] = []
        self._words = {DWT_CTRL: self._words.get(DWT_CTRL, 0)}  # a part of the debug logic: only power-on resets it
        self._counter_held, self._counter_from = 0, 0

    def enable_trace(self, on: bool) -> None:
        """DEMCR.TRCENA: without it nothing counts (ARMv7-M Architecture Reference Manual, C1.6.5)."""
        self._counter_held, self._counter_from = self._counter(), self._cycles()
        self._traced = on

    # --- registers ---

    def has(self, address: int) -> bool:
        """Whether reads of a register come here."""
        return address in (ICSR, DWT_CTRL, DWT_CYCCNT, CFSR, HFSR, BFAR) or ISER <= address < IABR + _BANKS

    def read(self, address: int) -> int:
        """A register that has() knows."""
        if address == ICSR:
            return self._active[-1] if self._active else 0
        if address == DWT_CYCCNT:
            return self._counter() & 0xFFFFFFFF
        if ISER <= address < IABR + _BANKS:
            bits = self._active_bits() if address >= IABR else self._pending if address >= ISPR else self._enabled
            return bits >> 8 * (address & 0x1F) & 0xFFFFFFFF
        return self._words.get(address, 0)

    def write(self, address: int, value: int) -> None:
        """Stores to a register; of those that has() does not know, the last value counts."""
        if ISER <= address < IABR + _BANKS:
            self._write_bank(address, value << 8 * (address & 0x1F))
        elif address in (CFSR, HFSR):
            self._words[address] = self._words.get(address, 0) & ~value
        elif address == DWT_CYCCNT:
            self._counter_held, self._counter_from = value, self._cycles()
        elif address == DWT_CTRL:
            self._counter_held = self._counter()
            self._counter_from = self._cycles()
            self._words[address] = value & 0x0FFFFFFF
        else:
            self._words[address] = value
        self._look()

    def _write_bank(self, address: int, bits: int) -> None:
        bank = address - (address & 0x1F)
        if bank == ISER:
            self._enabled |= bits
        elif bank == ICER:
            self._enabled &= ~bits
        elif bank == ISPR:
            self._pending |= bits
        elif bank == ICPR:
            self._pending = self._pending & ~bits | self._lines

    def _active_bits(self) -> int:
        return sum(1 << number - FIRST_INTERRUPT for number in self._active if number >= FIRST_INTERRUPT)

    def _counter(self) -> int:
        running = self._traced and self._words.get(DWT_CTRL, 0) & 1
        return self._counter_held + (self._cycles() - self._counter_from if running else 0)

    # --- interrupts ---

    def set_line(self, number: int, level: bool) -> None:
        """A device raises or drops its interrupt."""
        if level:
            self._lines |= 1 << number
            self._pending |= 1 << number
            self._look()
        else:
            self._lines &= ~(1 << number)

    @property
    def woken(self) -> bool:
        """Whether WFI ends, which a mask does not prevent."""
        return bool(self._pending & self._enabled)

    def waiting(self) -> int | None:
        """The interrupt that comes next, if it has the priority to be taken, masks apart."""
        candidates = self._pending & self._enabled
        best: tuple[int, int] | None = None
        while candidates:
            number = (candidates & -candidates).bit_length() - 1
            candidates &= candidates - 1
            key = (self._priority(FIRST_INTERRUPT + number), number)
            best = key if best is None or key < best else best
        return best[1] if best is not None and best[0] < self._running_priority() else None

    def take(self, number: int) -> None:
        """Enters an interrupt's handler; a stack that cannot hold the frame is a fault that comes before it."""
        self._pending &= ~(1 << number)
        if self._push():
            self._enter(FIRST_INTERRUPT + number)
        else:
            self._pending |= 1 << number
            self._record(BUS_STACKING)
            self._enter(self._escalated(BUS))

    def _look(self) -> None:
        if self._pending & self._enabled:
            self.on_pending()

    def _priority(self, exception: int) -> int:
        if exception <= HARD:
            return exception - 4
        if exception < FIRST_INTERRUPT:
            return self._byte(0xE000ED18 + exception - 4) & _PRIORITY_BITS
        return self._byte(IPR + exception - FIRST_INTERRUPT) & _PRIORITY_BITS

    def _byte(self, address: int) -> int:
        return self._words.get(address & ~3, 0) >> 8 * (address & 3) & 0xFF

    def _running_priority(self) -> int:
        return min((self._priority(number) for number in self._active), default=_MASKABLE)

    # --- faults ---

    def fault(self, fault: Fault) -> bool:
        """Takes a fault at the instruction that PC points to. False when the core locks up instead."""
        self._record(fault.status)
        if fault.address is not None:
            self._words[BFAR] = fault.address
        if self._running_priority() <= self._priority(HARD):
            return False
        exception = self._escalated(fault.exception)
        if not self._push():
            self._record(BUS_STACKING)
        self._enter(exception)
        return True

    def supervisor_call(self) -> None:
        """SVC."""
        self._push()
        self._enter(SUPERVISOR_CALL)

    def _record(self, status: int) -> None:
        self._words[CFSR] = self._words.get(CFSR, 0) | status

    def _escalated(self, exception: int) -> int:
        """The exception itself, or HardFault where that is off, masked, or not above what runs."""
        on = exception in (MEMORY, BUS, USAGE) and self._words.get(SHCSR, 0) >> 12 + exception & 1
        if on and not self._cpu.primask and self._priority(exception) < self._running_priority():
            return exception
        self._words[HFSR] = self._words.get(HFSR, 0) | _FORCED
        return HARD

    # --- entry and return ---

    def _push(self) -> bool:
        """Stacks the frame; the stack pointer moves even where there is no memory (B1.5.6)."""
        cpu = self._cpu
        stack, floats = cpu.read_register(SP), bool(cpu.control & _FPCA)
        bottom = stack - 4 * (_EXTENDED if floats else _BASIC)
        status = cpu.read_register(XPSR) | (_ALIGNED if bottom & 4 else 0)
        bottom &= ~7
        frame = [cpu.read_register(number) for number in (0, 1, 2, 3, 12, LR, PC)]
        frame.append(status)
        if floats:
            frame += [cpu.read_register(_S0 + number) for number in range(16)] + [cpu.read_register(_FPSCR), 0]
        stored = cpu.store(bottom & 0xFFFFFFFF, frame)
        cpu.write_register(SP, bottom & 0xFFFFFFFF)
        return stored

    def _enter(self, exception: int) -> None:
        cpu = self._cpu
        process_stack = not self._active and bool(cpu.control & 2)
        code = 0xFFFFFFE1 | (8 if not self._active else 0) | (4 if process_stack else 0)
        code |= 0 if cpu.control & _FPCA else 0x10
        vector = cpu.load(self._words.get(VTOR, 0) + 4 * exception, 1)
        cpu.control &= ~_FPCA
        status = cpu.read_register(XPSR)
        self._active.append(exception)
        cpu.enter_mode(status & 0xF80F0000 | exception)
        cpu.write_register(LR, code)
        cpu.write_register(PC, vector[0] if vector is not None else 0)

    def leave(self, code: int) -> bool:
        """A handler has branched to EXC_RETURN. False when the core locks up: no handler was active, or no frame."""
        cpu = self._cpu
        if not self._active:
            return False
        number = self._active.pop()
        if number >= FIRST_INTERRUPT and self._lines >> number - FIRST_INTERRUPT & 1:
            self._pending |= 1 << number - FIRST_INTERRUPT
        thread = bool(code & 8)
        cpu.enter_mode(0 if thread else self._active[-1] if self._active else 0)
        if thread:
            self._active.clear()
            cpu.control = cpu.control & ~2 | (2 if code & 4 else 0)
        stack, floats = cpu.read_register(SP), not code & 0x10
        frame = cpu.load(stack, _EXTENDED if floats else _BASIC)
        if frame is None:
            return False
        for register, value in zip((0, 1, 2, 3, 12, LR, PC), frame, strict=False):
            cpu.write_register(register, value)
        if floats:
            for number, value in enumerate(frame[_BASIC : _BASIC + 16]):
                cpu.write_register(_S0 + number, value)
            cpu.write_register(_FPSCR, frame[24])
        cpu.write_register(SP, stack + 4 * len(frame) + (4 if frame[7] & _ALIGNED else 0))
        cpu.enter_mode(frame[7] & ~(_ALIGNED | 0x1FF) | (self._active[-1] if self._active else 0))
        cpu.control = cpu.control & ~_FPCA | (_FPCA if floats else 0)
        return True
