"""The UARTE of the nRF52840: EasyDMA in both directions (Product Specification, chapter UARTE)."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable

from bench.virtual.flash_controller import BusError
from bench.virtual.nrf52_unit import SHORTS, Fabric, Unit

LOG = logging.getLogger(__name__)

STARTRX, STOPRX, STARTTX, STOPTX, FLUSHRX = 0x000, 0x004, 0x008, 0x00C, 0x02C
RXDRDY, ENDRX, TXDRDY, ENDTX, ERROR = 0x108, 0x110, 0x11C, 0x120, 0x124
RXTO, RXSTARTED, TXSTARTED, TXSTOPPED = 0x144, 0x14C, 0x150, 0x158
ERRORSRC, ENABLE, BAUDRATE = 0x480, 0x500, 0x524
RXD_PTR, RXD_MAXCNT, RXD_AMOUNT, TXD_PTR, TXD_MAXCNT, TXD_AMOUNT = 0x534, 0x538, 0x53C, 0x544, 0x548, 0x54C
OVERRUN, FRAMING = 1, 4
_ENDRX_STARTRX, _ENDRX_STOPRX = 1 << 5, 1 << 6
_ENABLED = 8
_FIFO = 6
_BITS = 10  # of a byte on the line
BURST = 16
_BACKLOG = 2048

Read = Callable[[int, int], bytes | None]
Write = Callable[[int, bytes], bool]


class Uarte(Unit):
    """The line brings bytes at the baud rate, in bursts: that many are taken from it at once, after the time that they
    take, so that not each costs the host a wake-up; where a transfer ends, so does a burst. What is sent is on the line
    at once, and time skips what it takes: a core that polls for the end of it would do so for millions of instructions.

    `read` and `write` are of RAM, which is all that the DMA reaches. `latency`: cycles from RXDRDY until the byte is
    there.
    """

    def __init__(
        self, base: int, fabric: Fabric, read: Read, write: Write, *, burst: int = BURST, latency: int = 0
    ) -> None:
        super().__init__(base, fabric)
        self._read_ram, self._write_ram = read, write
        self._burst = burst
        self._latency = latency
        self._late: deque[tuple[int, int, int]] = deque()  # stores to come: cycle, address, byte
        self._line: deque[int] = deque()  # coming, not here yet
        self.send: Callable[[bytes], None] = lambda _data: None
        self.on_backlog: Callable[[bool], None] = lambda _full: None
        self._full = False
        self._next = 0  # the cycle at which the line's first byte is here
        self._stop_receiving()

    def reset(self) -> None:
        super().reset()
        self._line.clear()
        self._stop_receiving()
        self._tell()

    def _stop_receiving(self) -> None:
        self._pointer: int | None = None  # of the transfer in progress
        self._count = self._amount = 0
        self._fifo: deque[int] = deque()
        self._listening = False

    @property
    def byte_cycles(self) -> int:
        """What a byte takes on the line; the register is the rate in units of 16 MHz / 2^32."""
        rate = self.words.get(BAUDRATE, 0x04000000) * 16_000_000 / (1 << 32)
        return max(1, round(_BITS * self.fabric.clock.hz / rate))

    # --- the line ---

    def arrive(self, data: bytes) -> None:
        """The host sends bytes; without a receiver they are lost."""
        if not self._listening:
            return
        if not self._line:
            self._next = max(self._next, self.fabric.clock.now + self.byte_cycles)
        self._line.extend(data)
        self._tell()

    def next_event(self) -> int | None:
        if self._late:
            return self._late[0][0]
        if not self._line:
            return None
        return self._next + (min(len(self._line), self._burst) - 1) * self.byte_cycles

    def advance(self) -> None:
        now = self.fabric.clock.now
        while self._late and self._late[0][0] <= now:
            _, address, byte = self._late.popleft()
            self._write_ram(address, bytes([byte]))
        if self._line and not self._late and now >= (self.next_event() or 0):
            while self._line and self._next <= now:
                self._take(self._line.popleft())
                self._next += self.byte_cycles
                if self._pointer is None:
                    self._next = max(self._next, now + self.byte_cycles)
            self._tell()

    def garble(self, *, counted: bool) -> None:
        """A byte comes without its stop bit: it is not stored. Whether RXDRDY comes, the manual does not say."""
        if counted:
            self.event(RXDRDY)
        self.fail(FRAMING)

    def _tell(self) -> None:
        full = len(self._line) > _BACKLOG
        if full != self._full:
            self._full = full
            self.on_backlog(full)

    # --- receiving ---

    def _take(self, byte: int) -> None:
        if not self._listening:
            return
        if self._pointer is None and len(self._fifo) == _FIFO:
            self.fail(OVERRUN)
            return
        self._fifo.append(byte)
        self.event(RXDRDY)
        self._drain()

    def _drain(self) -> None:
        """From the FIFO to RAM, as far as a transfer goes."""
        while self._fifo and self._pointer is not None:
            byte, address = self._fifo.popleft(), self._pointer + self._amount
            if self._latency:
                self._late.append((self.fabric.clock.now + self._latency, address, byte))
            elif not self._write_ram(address, bytes([byte])):
                LOG.error("UARTE: RXD.PTR 0x%08x is not in RAM: the byte is lost", self._pointer)
            self._amount += 1
            if self._amount >= self._count:
                self._end_transfer()

    def _end_transfer(self) -> None:
        self.words[RXD_AMOUNT] = self._amount
        self._pointer = None
        self.event(ENDRX)
        shorts = self.words.get(SHORTS, 0)
        if shorts & _ENDRX_STARTRX:
            self.task(STARTRX)
        elif shorts & _ENDRX_STOPRX:
            self.task(STOPRX)

    def _start_transfer(self) -> None:
        self._pointer = self.words.get(RXD_PTR, 0)
        self._count = self.words.get(RXD_MAXCNT, 0) & 0xFFFF
        self._amount = 0

    def fail(self, source: int) -> None:
        """An error on the line."""
        self.words[ERRORSRC] = self.words.get(ERRORSRC, 0) | source
        self.event(ERROR)

    # --- registers ---

    def write(self, offset: int, value: int) -> None:
        if offset == ERRORSRC:
            self.words[ERRORSRC] = self.words.get(ERRORSRC, 0) & ~value
            return
        super().write(offset, value)
        if offset == ENABLE and value & 15 != _ENABLED:
            self._stop_receiving()

    def task(self, offset: int) -> None:
        if self.words.get(ENABLE, 0) & 15 != _ENABLED:
            return
        if offset == STARTRX:
            self._listening = True
            self._start_transfer()
            self.event(RXSTARTED)
            self._drain()
        elif offset == STOPRX:
            if self._pointer is not None:
                self._pointer = None
                self.words[RXD_AMOUNT] = self._amount
                self.event(ENDRX)
            self.event(RXTO)
        elif offset == FLUSHRX:
            self._start_transfer()
            shorts, self.words[SHORTS] = self.words.get(SHORTS, 0), 0
            self._drain()
            if self._pointer is not None:
                self._end_transfer()
            self.words[SHORTS] = shorts
        elif offset == STARTTX:
            self._transmit()
        elif offset == STOPTX:
            self.event(TXSTOPPED)

    def _transmit(self) -> None:
        pointer, count = self.words.get(TXD_PTR, 0), self.words.get(TXD_MAXCNT, 0) & 0xFFFF
        data = self._read_ram(pointer, count)
        if data is None:
            raise BusError(f"EasyDMA of the UARTE reads {count} bytes at 0x{pointer:08x}: that is not RAM")
        self.event(TXSTARTED)
        self.fabric.clock.skip(count * self.byte_cycles)
        self.send(data)
        self.words[TXD_AMOUNT] = count
        self.event(TXDRDY)
        self.event(ENDTX)
