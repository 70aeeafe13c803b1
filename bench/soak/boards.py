"""Injects faults into virtual boards while they work, one at a time on each, and sees what heals them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

from bench.errors import InfrastructureError
from bench.rack.board import Board
from bench.rack.recovery import QUARANTINE, Recovery
from bench.soak.plan import Planned, Queue, detailed
from bench.soak.record import LINK, Injected
from bench.virtual.faults.control import ArmedFault

_SLICE_S = 0.2
_HEAL_S = 20.0  # for a line, without the ladder

Struck = Callable[[Injected], None]


@dataclass
class _Watched:
    """What a board was seen to do, by the process's monotonic clock."""

    changed: threading.Condition = field(default_factory=threading.Condition)
    began: float = 0.0  # when the job was given out that it finished last
    worked: float = 0.0  # when it finished that
    recoveries: list[tuple[float, Recovery]] = field(default_factory=list)

    def well_since(self, struck: float) -> bool:
        """Whether it has done a whole job since then, or has been brought back and ended one: a fault that strikes
        with a job's last bytes does that job no harm."""
        climbed = any(struck <= when <= self.worked for when, _ in self.recoveries)
        return self.worked >= struck and (climbed or self.began >= struck)


class Injector:
    """The faults of one leg on all boards. `worked` is to be called when a board has finished a job."""

    def __init__(self, boards: Sequence[Board], queue: Queue, images: Mapping[str, Path], struck: Struck) -> None:
        """`images`: by board, one of another build. `struck` is told of each fault as it strikes."""
        self._boards = {board.name: board for board in boards}
        self._queue = queue
        self._images = images
        self._struck = struck
        self._watched = {name: _Watched() for name in self._boards}
        self._given: dict[str, float] = {}
        self._over = threading.Event()
        self._lock = threading.Lock()
        self._faults: list[Injected] = []
        self._open: dict[str, tuple[float, Injected]] = {}  # struck, and not healed yet
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        """Begins to inject."""
        for board in self._boards.values():
            board.on_recovery = self._recovered
            thread = threading.Thread(target=self._inject, args=(board,), name=f"faults-{board.name}", daemon=True)
            self._threads.append(thread)
            thread.start()

    def stop(self) -> None:
        """Injects no more. Faults that have struck may still heal, until `faults` is asked for."""
        self._over.set()
        for thread in self._threads:
            thread.join()

    def begins(self, board: str) -> None:
        """A board is given a job."""
        self._given[board] = time.monotonic()

    def worked(self, board: str) -> None:
        """A board has finished a job."""
        watched = self._watched[board]
        with watched.changed:
            watched.began, watched.worked = self._given.get(board, 0.0), time.monotonic()
            watched.changed.notify_all()

    def faults(self) -> list[Injected]:
        """All that have struck. What is still open, and whose board has worked since, is healed by now."""
        for name, (begun, fault) in list(self._open.items()):
            self._close(name, begun, fault)
        return sorted(self._faults, key=lambda fault: fault.number)

    def _recovered(self, recovery: Recovery) -> None:
        watched = self._watched[recovery.board]
        with watched.changed:
            watched.recoveries.append((time.monotonic(), recovery))
            watched.changed.notify_all()

    def _inject(self, board: Board) -> None:
        while not self._over.is_set():
            planned = self._queue.take()
            if planned is None:
                return
            try:
                self._one(board, planned)
            except InfrastructureError as error:  # the board's process has gone: power is being cycled
                board.log(f"fault {planned.number} was not injected: {error}")
                self._queue.put_back(planned)
                self._over.wait(_SLICE_S)

    def _one(self, board: Board, planned: Planned) -> None:
        fault = detailed(planned, str(self._images[board.name]))
        armed = ArmedFault(Path(board.ends.serial).parent, fault)
        try:
            while not armed.wait("struck", _SLICE_S):
                if self._over.is_set():
                    self._queue.put_back(planned)
                    return
            begun = time.monotonic()
            now = datetime.now(UTC).isoformat(timespec="milliseconds")
            details = {"direction": fault.direction, "after": fault.after, "size": fault.size, "seconds": fault.seconds}
            found = Injected(planned.number, planned.kind, board.name, now, details)
            self._open[board.name] = (begun, found)
            self._struck(found)
            # A terminal that goes away takes the ladder: a frame that comes in the midst of it says little.
            if fault.on_link and fault.kind != "disconnect" and self._line_heals(armed, begun):
                self._close(board.name, begun, found, at=time.monotonic())
                return
        finally:
            armed.close()
        self._await_work(board.name, begun)
        if not self._over.is_set():
            self._close(board.name, begun, found)

    def _line_heals(self, armed: ArmedFault, begun: float) -> bool:
        """Whether the line carries frames again, in its own time."""
        try:
            while time.monotonic() < begun + _HEAL_S and not self._over.is_set():
                if armed.wait("healed", _SLICE_S):
                    return True
        except InfrastructureError:  # the ladder has come to the board's power
            pass
        return False

    def _await_work(self, name: str, begun: float) -> None:
        watched = self._watched[name]
        with watched.changed:
            while not watched.well_since(begun) and not self._over.is_set():
                watched.changed.wait(_SLICE_S)

    def _close(self, name: str, begun: float, fault: Injected, at: float | None = None) -> None:
        """Says what has healed it, if anything has: the highest rung since, or the link by itself."""
        watched = self._watched[name]
        with watched.changed:
            well = at is not None or watched.well_since(begun)
            ended = watched.worked if at is None else at
            climbed = [(when, found) for when, found in watched.recoveries if begun <= when <= ended]
        if well and not any(found.rung == QUARANTINE for _, found in climbed):
            rung = climbed[-1][1].rung if climbed else LINK
            seconds = (climbed[-1][0] if climbed else ended) - begun
            fault = replace(fault, rung=rung, seconds=round(seconds, 3))
        with self._lock:
            self._open.pop(name, None)
            self._faults.append(fault)
