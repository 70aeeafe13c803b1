"""A virtual board's current: from the phases that its image went through and the bytes on its line.

An emulator's time is not a board's, so the meter lives in the board's own time, which is modelled as
bench/meters/modelled.py says: a phase of training lasts as long as its instructions take the core, a transfer as long
as its bytes take the line, both at the run current. At rest, time is the clock's, at the sleep current. So a training
step's energy is the same in every run, though it takes the wire of a real meter. What has happened is known when a
phase ends: the meter says nothing while the board computes, and then all of it.

The phases come from `struct phase_log` of bench/virtual/qemu_plugin/phase_record.h, a ring of changes of phase; the
bytes from the file beside the board's serial line. Where the emulator models the chip's pins (nRF52840), the ring has
the marker pin's changes too, as the firmware drives it, and the meter's D0 shows that pin; elsewhere D0 is high in the
phases in which the firmware drives it.
"""

from __future__ import annotations

import mmap
import struct
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from bench.errors import InfrastructureError
from bench.virtual.instruments.spec import BoardFeed, Stretch
from bench.virtual.serial_line import TRAFFIC

_MAGIC: Final = b"FTTELOG1"
_HEADER: Final = struct.Struct("<8sQQ")  # magic, entries that the ring holds, entries written so far
_ENTRY: Final = struct.Struct("<QQII")  # ns of the monotonic clock, instructions of the phase that ended, it, the next
_BOOT, _IDLE, _LINK = 0, 1, 2
_MARKER_SEEN, _MARKER_HIGH = 1 << 31, 1 << 30  # beside a phase


@dataclass(frozen=True)
class State:
    """What the image is in: a phase, and the marker pin's level."""

    phase: int
    marker: bool

    @classmethod
    def of(cls, word: int) -> State:
        """From the log. Where nobody looks at the pin, it is where the firmware means it to be."""
        phase = word & ~(_MARKER_SEEN | _MARKER_HIGH)
        return cls(phase, bool(word & _MARKER_HIGH) if word & _MARKER_SEEN else phase > _LINK)


@dataclass(frozen=True)
class Change:
    """A phase of the image, or a level of its marker pin, that ended."""

    at_ns: int
    instructions: int
    ended: State
    entered: State


class PhaseLog:
    """Reads the ring; a board that has not run an image yet has none, and gets it when it does."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._map: mmap.mmap | None = None
        self._read = 0
        self.state = State(_IDLE, marker=False)
        """What the image was in when last asked."""

    def skip(self) -> None:
        """Forgets what has been written, but for the state that it led to."""
        ring = self._mapped()
        if ring is not None:
            _, _, written = _HEADER.unpack_from(ring)
            self._read = max(self._read, written - 1)
            for _ in self.changes():
                pass

    def changes(self) -> Iterator[Change]:
        """Those since the last call. Raises InfrastructureError: there were more than the ring holds."""
        ring = self._mapped()
        if ring is None:
            return
        _, capacity, written = _HEADER.unpack_from(ring)
        for index in range(self._read, written):
            at_ns, instructions, *words = _ENTRY.unpack_from(ring, _HEADER.size + index % capacity * _ENTRY.size)
            change = Change(at_ns, instructions, *(State.of(word) for word in words))
            self.state = change.entered
            yield change
        _, _, meanwhile = _HEADER.unpack_from(ring)
        overrun = meanwhile - self._read > capacity
        self._read = written
        if overrun:
            raise InfrastructureError(f"{self._path}: the board changed phases faster than the meter could follow")

    def _mapped(self) -> mmap.mmap | None:
        if self._map is None and self._path.exists() and self._path.stat().st_size >= _HEADER.size:
            with self._path.open("rb") as file:
                ring = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
            if ring[: len(_MAGIC)] == _MAGIC:  # else it is only now being made
                self._map = ring
        return self._map


class VirtualBoardFeed:
    """Carries out feeds.Feed."""

    def __init__(self, spec: BoardFeed) -> None:
        self._spec = spec
        self._log = PhaseLog(Path(spec.phases))
        self._traffic: mmap.mmap | None = None
        self._carried = (0, 0)
        self._since_ns = 0  # until then, rest has been told
        self.character_s = 10 / spec.baud

    def begin(self) -> None:
        """See Feed."""
        self._log.skip()
        self._carried = self._bytes()
        self._since_ns = time.monotonic_ns()

    def take(self) -> list[Stretch]:
        """See Feed. Within one call, what was received is put before what was computed, what was sent behind it."""
        now_ns = time.monotonic_ns()
        before, self._carried = self._carried, self._bytes()
        received, sent = (after - earlier for after, earlier in zip(self._carried, before, strict=True))
        taken: list[Stretch] = []
        for change in self._log.changes():
            if change.ended.phase == _LINK and change.entered.phase != _LINK:
                taken += self._transfer(received, "receive")
                received = 0
            elif change.ended.phase == _IDLE:
                taken.append(self._rest(change.at_ns, change.ended))
            else:
                taken.append(self._work(change))
            self._since_ns = max(self._since_ns, change.at_ns)
        taken += self._transfer(received, "receive") + self._transfer(sent, "send")
        now = self._log.state
        if now.phase == _IDLE:
            taken.append(self._rest(now_ns, now))
            self._since_ns = max(self._since_ns, now_ns)
        return taken

    def _work(self, change: Change) -> Stretch:
        seconds = change.instructions * self._spec.cycles_per_instruction / self._spec.core_hz
        return Stretch(seconds, self._spec.run_ua, _shown(change.ended))

    def _rest(self, until_ns: int, state: State) -> Stretch:
        return Stretch(max(0, until_ns - self._since_ns) / 1e9, self._spec.sleep_ua, _shown(state))

    def _transfer(self, count: int, does: Literal["receive", "send"]) -> list[Stretch]:
        return [Stretch(count * self.character_s, self._spec.run_ua, does)] if count > 0 else []

    def _bytes(self) -> tuple[int, int]:
        path = Path(self._spec.traffic)
        if self._traffic is None and path.exists():
            with path.open("rb") as file:
                self._traffic = mmap.mmap(file.fileno(), TRAFFIC.size, prot=mmap.PROT_READ)
        if self._traffic is None:
            return 0, 0
        to_board, to_host = TRAFFIC.unpack_from(self._traffic)
        return to_board, to_host


def _shown(state: State) -> Literal["idle", "compute"]:
    return "compute" if state.marker else "idle"
