"""Injects faults into virtual boards while they work, one at a time on each, and sees what heals them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Self

from bench.errors import DeviceError, InfrastructureError
from bench.rack.board import Board
from bench.rack.rack import at_once
from bench.soak.book import BoardBook, Ended
from bench.soak.plan import HEAVY, Planned, Queue, detailed
from bench.soak.record import LINK, RESUME, Injected
from bench.virtual.faults.control import ArmedFault, FaultOverError
from bench.virtual.faults.spec import Fault

_SLICE_S = 0.2
_ANSWER_S = 10.0  # for a board's process to say whether a fault had struck before it was taken back
_HOLD_S = 1.0  # for faults that have not struck to be taken back
_SETTLE_S = 300.0  # for what is still open when the rounds are over: twice what the longest ladder takes

Struck = Callable[[Injected], None]


class Injector:
    """The faults of one leg on all boards. Within the block they are injected, until `settle`; a block that is left
    before that is given up, and what it has injected is to be injected again."""

    def __init__(self, boards: Sequence[Board], queue: Queue, images: Mapping[str, Path], struck: Struck) -> None:
        """`images`: by board, one of another build. `struck` is told of each fault as it strikes."""
        self._boards = {board.name: board for board in boards}
        self._queue = queue
        self._images = images
        self._struck = struck
        self._books = {name: BoardBook() for name in self._boards}
        self._enough = threading.Event()  # no further fault
        self._over = threading.Event()  # nor is the end of those awaited that have struck
        self._held = threading.Event()  # no fault strikes that takes more than a resync
        self._lock = threading.Lock()
        self._heavy = 0  # such faults that are armed, or not over
        self._lighter = threading.Condition(self._lock)
        self._faults: list[Injected] = []
        self._threads: dict[str, threading.Thread] = {}

    def __enter__(self) -> Self:
        """Begins to inject."""
        for board in self._boards.values():
            board.on_recovery = self._books[board.name].recovered
            thread = threading.Thread(target=self._inject, args=(board,), name=f"faults-{board.name}", daemon=True)
            self._threads[board.name] = thread
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def worked(self, board: str, began: float) -> None:
        """A board has just done a job that began then."""
        self._books[board].worked(began)

    def stop(self) -> None:
        """Injects no more."""
        self._enough.set()

    def hold(self) -> bool:
        """Until `resumed`, no fault strikes that takes more than a resync. False: one is open, so nothing is held."""
        self._held.set()
        with self._lighter:
            if self._lighter.wait_for(lambda: self._heavy == 0, _HOLD_S):
                return True
        self._held.clear()
        return False

    def resumed(self, began: float) -> None:
        """Ends `hold`: the run goes on, with boards that have been brought since `began` to where a run begins."""
        for board in self._boards.values():
            if board.quarantine is None:
                self._books[board.name].worked(began, RESUME)
        self._held.clear()

    def settle(self) -> list[Injected]:
        """Injects no more, has each board do as much more as shows that it is well, or that no rung brings it back, and
        tells what has become of all faults. The boards must be free."""
        self._enough.set()
        cancelled = threading.Event()
        deadline = time.monotonic() + _SETTLE_S
        at_once(list(self._boards.values()), lambda board: self._put_right(board, deadline, cancelled), cancelled)
        self._end()
        return sorted(self._faults, key=lambda fault: fault.number)

    def _end(self) -> None:
        self._enough.set()
        self._over.set()
        for thread in self._threads.values():
            thread.join()
        for board in self._boards.values():
            board.on_recovery = lambda _recovery: None

    def _put_right(self, board: Board, deadline: float, cancelled: threading.Event) -> None:
        """Asks something of the board until its fault, if it has one, is over: then its thread ends."""
        faults = self._threads[board.name]
        while board.quarantine is None and not cancelled.is_set():
            if not board.exclusive.acquire(timeout=max(0.0, deadline - time.monotonic())):
                return  # a client has not let go: it counts as hanging
            try:
                self._ask(board, cancelled)
            finally:
                board.exclusive.release()
            faults.join(_SLICE_S)
            if not faults.is_alive() or time.monotonic() >= deadline:
                return

    def _ask(self, board: Board, cancelled: threading.Event) -> None:
        """As a job would: what has broken is noticed by its session, and mended by the ladder."""
        began = time.monotonic()
        try:
            with board.device().cancellable(cancelled):
                board.device().stats()
            board.check(cancelled)
            self.worked(board.name, began)
        except (InfrastructureError, DeviceError) as error:
            try:
                board.recover(cancelled, reason=str(error))
            except InfrastructureError as lost:
                board.log(f"after the last round: {lost}")

    def _inject(self, board: Board) -> None:
        while not self._enough.is_set():
            if board.quarantine is not None or board.recovering_since is not None:
                self._enough.wait(_SLICE_S)  # a fault at a time: this one is not over
                continue
            planned = self._queue.take()
            if planned is None:
                return
            heavy = planned.kind in HEAVY
            with self._lock:
                self._heavy += heavy
            try:
                struck = self._one(board, planned)
            except InfrastructureError as error:  # the board's process has gone: power is being cycled
                board.log(f"fault {planned.number} was not injected: {error}")
                struck = False
            with self._lighter:
                self._heavy -= heavy
                self._lighter.notify_all()
            if not struck:
                self._queue.put_back(planned)
                self._enough.wait(_SLICE_S)

    def _one(self, board: Board, planned: Planned) -> bool:
        """Whether it has struck; if so, it is over now, or the leg is."""
        fault = detailed(planned, str(self._images[board.name]))
        if self._held.is_set() and fault.kind in HEAVY:
            return False
        armed = ArmedFault(Path(board.ends.serial).parent, fault)
        try:
            if not self._strikes(armed, fault, board):
                return False
            at = armed.at
            said = datetime.fromtimestamp(time.time() - (time.monotonic() - at), UTC).isoformat(timespec="milliseconds")
            details = {"direction": fault.direction, "after": fault.after, "size": fault.size, "seconds": fault.seconds}
            found = Injected(planned.number, planned.kind, board.name, said, details)
            self._struck(found)
            # A terminal that goes away takes the ladder: a frame before that says little.
            ended = self._await_end(board, armed if fault.on_link and fault.kind != "disconnect" else None, at)
        finally:
            armed.close()
        if ended is not None and ended.rung:
            found = replace(found, rung=ended.rung, seconds=round(ended.at - at, 3))
        with self._lock:
            self._faults.append(found)
        return True

    def _strikes(self, armed: ArmedFault, fault: Fault, board: Board) -> bool:
        """Waits for it. What needs the ladder does not strike while that is being climbed, for each rung is tried once;
        but power fails in the midst of what the ladder flashes."""
        while not armed.wait("struck", _SLICE_S):
            not_now = board.recovering_since is not None or self._held.is_set()
            # A brown-out may have begun: another build is in flash then, whether power fails or not.
            not_now = not_now and fault.kind in HEAVY and fault.kind != "brown-out"
            if self._enough.is_set() or not_now or board.quarantine is not None:
                return not armed.take_back(_ANSWER_S)
        return True

    def _await_end(self, board: Board, line: ArmedFault | None, struck: float) -> Ended | None:
        """None: the leg was over first."""
        book = self._books[board.name]
        while True:
            if line is None:
                book.wait(_SLICE_S)
            elif (healed := self._healed(line)) is not None:
                since = board.recovering_since
                if not book.climbing(healed) and (since is None or since > healed):
                    return Ended(healed, LINK)
                line = None
            ended = book.end_of(struck)
            if ended is not None or self._over.is_set():
                return ended

    def _healed(self, armed: ArmedFault) -> float | None:
        """When the line carried a whole frame again; None: not yet."""
        try:
            return armed.at if armed.wait("healed", _SLICE_S) else None
        except FaultOverError:  # power is being cycled: the ladder's end is awaited
            self._over.wait(_SLICE_S)
            return None
