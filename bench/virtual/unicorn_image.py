"""The flashed image on Unicorn, on the very core and memories that the debugger sees: for parts that QEMU lacks.

It runs in slices between the loop's other work. The core's time is instructions, one a cycle; while it sleeps nothing
runs, and time goes by as on the wall, or, where a byte is on its way, at once to that byte.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from bench.errors import ConfigError
from bench.rack.image import DESCRIPTOR_OFFSET, DESCRIPTOR_SIZE, ImageDescriptor
from bench.virtual import exceptions
from bench.virtual.block_counter import BlockCounter
from bench.virtual.cpu import BREAKPOINT, PC, Cpu, Ended
from bench.virtual.emulator import Counting
from bench.virtual.exceptions import Exceptions, Fault
from bench.virtual.loop import Loop, Timer
from bench.virtual.nonvolatile import NonVolatile
from bench.virtual.nrf52 import RESET_WATCHDOG, Nrf52
from bench.virtual.serial_line import Wire

LOG = logging.getLogger(__name__)

SLICE = 400_000  # instructions: 2 ms or so of the host's
_SLICE_S = 0.002  # about
_VECTORS = 8
_WAIT_FOR_INTERRUPT = 0xBF30
# QEMU's numbers of what Unicorn cannot handle.
_SUPERVISOR_CALL, _EXCEPTION_EXIT, _NO_COPROCESSOR, _INVALID_STATE = 2, 8, 17, 18


class UnicornImage:
    """Carries out core.Image.

    `on_end` is called when the core locks up, `on_breakpoint` when it comes to a BKPT or a comparator's address (true:
    a debugger has halted it), `on_reset` with the reason when the image or the watchdog asks for one.
    """

    shares_state = True

    def __init__(
        self,
        loop: Loop,
        cpu: Cpu,
        counter: BlockCounter,
        core: Exceptions,
        devices: Nrf52,
        flash: NonVolatile,
        wire: Wire,
        counting: Counting | None,
    ) -> None:
        self._loop = loop
        self._cpu = cpu
        self._counter = counter
        self._core = core
        self._devices = devices
        self._flash = flash
        self._wire = wire
        self._counting = counting
        self._version = -1  # of the flash that is watched
        self._live = False  # there is an image, running or paused
        self._paused = False
        self._resumed = False  # by a debugger, just now
        self._slept_at: float | None = None
        self._timer: Timer | None = None
        self._reset_reason: int | None = None
        self._drag_s = 0.0  # between slices
        self.on_end: Callable[[], None] = lambda: None
        self.on_breakpoint: Callable[[], bool] = lambda: False
        self.on_reset: Callable[[int], None] = lambda _reason: None
        core.on_pending = counter.stop
        self._sent = bytearray()  # in this turn: a host that is told of each byte takes longer than the core
        devices.uarte.send = self._sent.extend

    # --- core.Image ---

    @property
    def running(self) -> bool:
        """Whether it executes, or sleeps, now."""
        return self._live and not self._paused

    def start(self, *, keep_ram: bool) -> bool:
        """From reset: the core's registers are set. RAM is what it was, on this part always."""
        del keep_ram
        self.stop()
        if self._flash.is_blank(0, _VECTORS):
            LOG.info("flash is blank: nothing runs")
            return False
        self._core.reset()
        if self._version != self._flash.version:
            self._watch()
        self._live = True
        self._connect(True)
        self._schedule(0)
        return True

    def pause(self) -> dict[int, int]:
        """Stands still; memory and registers are the debugger's already."""
        self._awake()
        self._paused = True
        self._unschedule()
        self._connect(False)  # a halted core starts no transfer: what comes overruns
        return {}

    def freeze(self) -> None:
        """Hangs: nothing is executed until the next reset."""
        if self._live:
            self.pause()

    def drag(self, share: int) -> None:
        """Executes one `share`-th of the time; 1 ends it."""
        self._drag_s = (share - 1) * _SLICE_S

    def jump(self, address: int) -> None:
        """The core goes on elsewhere, as a stray pointer would make it."""
        if self.running:
            self._awake()
            self._cpu.write_register(PC, address)
            self._schedule(0)

    def resume(self) -> None:
        """Goes on, with whatever a debugger has changed."""
        if self._version != self._flash.version:
            self._watch()
        self._live, self._paused, self._resumed = True, False, True
        self._connect(True)
        self._schedule(0)

    def stop(self) -> None:
        """Ends it."""
        self._live = self._paused = False
        self._slept_at = None
        self._reset_reason = None
        self._unschedule()
        self._connect(False)

    def peek(self, address: int) -> int | None:
        """The registers of this machine are the bus's own."""
        del address
        return None

    def close(self) -> None:
        """Ends it and frees the counter."""
        self.stop()
        self._counter.close()

    @property
    def on_backlog(self) -> Callable[[bool], None]:
        """Called when the UARTE is behind with what the host has sent, and when it has caught up."""
        return self._devices.uarte.on_backlog

    @on_backlog.setter
    def on_backlog(self, call: Callable[[bool], None]) -> None:
        self._devices.uarte.on_backlog = call

    # --- resets ---

    def ask_for_reset(self, reason: int) -> None:
        """By a device or the core's own store: the run ends first."""
        self._reset_reason = reason
        self._counter.stop()

    def watchdog_bites(self) -> None:
        """Nobody fed it."""
        LOG.warning("the watchdog resets the core")
        self.ask_for_reset(RESET_WATCHDOG)

    # --- the line ---

    def _connect(self, connected: bool) -> None:
        self._wire.board = self._arrived if connected else lambda _data: None

    def _arrived(self, data: bytes) -> None:
        self._awake()
        self._devices.uarte.arrive(data)
        self._schedule(0)

    # --- running ---

    def _watch(self) -> None:
        """An image without a descriptor runs uncounted."""
        self._version = self._flash.version
        image: ImageDescriptor | None = None
        try:
            image = ImageDescriptor.parse(self._flash.read(0, DESCRIPTOR_OFFSET + DESCRIPTOR_SIZE))
        except ConfigError as error:
            LOG.info("instructions are not counted: %s", error)
        entry = int.from_bytes(self._flash.read(4, 4), "little") & ~1
        self._counter.watch(image, entry, self._counting)

    def _schedule(self, seconds: float) -> None:
        self._unschedule()
        self._timer = self._loop.call_later(seconds, self._turn)

    def _unschedule(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _awake(self) -> None:
        """What was slept on the wall has gone by for the core, but not past what would have woken it."""
        if self._slept_at is None:
            return
        slept = self._devices.clock.cycles(time.monotonic() - self._slept_at)
        self._slept_at = None
        event = self._devices.next_event()
        if event is not None:
            slept = min(slept, max(0, event - self._devices.clock.now))
        self._devices.clock.skip(slept)

    def _turn(self) -> None:
        """One slice; then the loop's other work, or sleep."""
        self._timer = None
        try:
            self._run()
        finally:
            if self._sent:
                self._wire.to_host(bytes(self._sent))
                self._sent.clear()

    def _run(self) -> None:
        if not self.running:
            return
        self._awake()
        end = self._counter.executed + SLICE
        while self.running:
            self._devices.advance()
            if self._reset_reason is not None:
                reason, self._reset_reason = self._reset_reason, None
                self.on_reset(reason)
                return
            if self._counter.executed >= end:
                self._schedule(self._drag_s)
                return
            if not self._take_interrupt() and self._execute(end) and not self._core.woken and self._sleep():
                return

    def _take_interrupt(self) -> bool:
        number = self._core.waiting()
        masked = number is not None and self._cpu.primask
        self._counter.await_unmasking(masked)
        if number is None or masked:
            return False
        self._core.take(number)
        return True

    def _execute(self, end: int) -> bool:
        """Runs to the next event at most. True when the core waits for an interrupt."""
        event = self._devices.next_event()
        limit = end
        if event is not None:
            limit = min(end, self._counter.executed + max(1, event - self._devices.clock.now))
        self._counter.begin(limit)
        ended = self._cpu.run_image(resumed=self._resumed)
        self._resumed = False
        pc = self._cpu.read_register(PC)
        if self._counter.end(pc):
            return False
        if ended == Ended():
            return self._cpu.load_half(pc - 2) == _WAIT_FOR_INTERRUPT
        if ended.exception == BREAKPOINT and self.on_breakpoint():
            return False
        if not self._handle(ended):
            LOG.error("the core locks up at 0x%08x (%s): until a reset", pc, ended)
            self.stop()
            self.on_end()
        return False

    def _handle(self, ended: Ended) -> bool:
        """Enters or leaves an exception. False when the core locks up."""
        if ended.exception == _EXCEPTION_EXIT:
            return self._core.leave(self._cpu.read_register(PC) | 1)
        if ended.exception == _SUPERVISOR_CALL:
            self._core.supervisor_call()
            return True
        return self._core.fault(_fault(ended))

    def _sleep(self) -> bool:
        """The core waits. False when a byte ends that at once."""
        clock = self._devices.clock
        line, event = self._devices.line_event(), self._devices.next_event()
        if line is not None and line == event:
            clock.skip(max(0, line - clock.now))
            return False
        self._slept_at = time.monotonic()
        if event is not None:
            self._schedule(max(0, event - clock.now) / clock.hz)
        return True


def _fault(ended: Ended) -> Fault:
    if ended.access is not None and ended.access.fetch:
        return Fault(exceptions.BUS, exceptions.INSTRUCTION_BUS)
    if ended.access is not None:
        status = exceptions.PRECISE | exceptions.BUS_ADDRESS_VALID
        return Fault(exceptions.BUS, status, ended.access.address)
    if ended.refused is not None:
        LOG.info("bus fault: %s", ended.refused)
        return Fault(exceptions.BUS, exceptions.PRECISE)
    if ended.exception == _NO_COPROCESSOR:
        return Fault(exceptions.USAGE, exceptions.NO_COPROCESSOR)
    if ended.exception == _INVALID_STATE:
        return Fault(exceptions.USAGE, exceptions.INVALID_STATE)
    if ended.exception == BREAKPOINT:
        return Fault(exceptions.HARD, 0)  # without a debugger (C1.6.3)
    return Fault(exceptions.USAGE, exceptions.UNDEFINED)
