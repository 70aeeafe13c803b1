"""What a soak writes of its faults: when each was over and what healed it, by what was seen of its board alone."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest

from bench.errors import ConfigError, DeviceError, InfrastructureError
from bench.rack.recovery import QUARANTINE, Recovery
from bench.soak.boards import Injector
from bench.soak.book import BoardBook, Ended
from bench.soak.meter import REOPEN, MeterBench
from bench.soak.plan import METER, Planned, Queue
from bench.soak.record import Injected
from bench.soak.soak import SoakSettings, _folder
from bench.virtual.faults.control import ArmedFault, ControlServer
from bench.virtual.faults.spec import Fault
from bench.virtual.loop import Loop


class Clock:
    """Says what it is set to."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def climbed(rung: str, seconds: float, check_s: float = 0.0) -> Recovery:
    return Recovery("bit", rung, "no answer", seconds, check_s=check_s)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def book(clock: Clock) -> BoardBook:
    return BoardBook(clock)


def test_a_fault_is_open_until_something_shows_that_the_board_is_well(book: BoardBook, clock: Clock) -> None:
    clock.now = 10.0
    book.worked(began=4.0)
    assert book.end_of(5.0) is None, "a job that it struck may have been all but over"
    clock.now = 20.0
    book.worked(began=11.0)
    assert book.end_of(5.0) == Ended(20.0, "link")


def test_the_rung_of_the_first_recovery_since_has_healed_it(book: BoardBook, clock: Clock) -> None:
    clock.now = 10.0
    book.recovered(climbed("reset", 4.0))
    clock.now = 30.0
    book.worked(began=12.0)
    book.recovered(climbed("flash", 5.0))
    assert book.end_of(5.0) == Ended(10.0, "reset")
    assert book.end_of(11.0) == Ended(30.0, "link")


def test_a_fault_that_strikes_within_a_rung_is_over_with_the_check_behind_it(book: BoardBook, clock: Clock) -> None:
    """Power that fails while the ladder flashes."""
    clock.now = 20.0
    book.recovered(climbed("flash", 15.0, check_s=1.0))
    assert book.end_of(12.0) == Ended(20.0, "flash")


def test_what_a_resumed_run_does_for_its_boards_heals_too(book: BoardBook, clock: Clock) -> None:
    clock.now = 20.0
    book.worked(10.0, "resume")
    assert book.end_of(9.0) == Ended(20.0, "resume")
    assert book.end_of(11.0) is None


def test_a_check_that_a_fault_strikes_says_nothing_of_it(book: BoardBook, clock: Clock) -> None:
    clock.now = 20.0
    book.recovered(climbed("resync", 3.0, check_s=1.0))
    assert book.end_of(19.5) is None
    clock.now = 25.0
    book.recovered(climbed("power-cycle", 4.0, check_s=1.0))
    assert book.end_of(19.5) == Ended(25.0, "power-cycle")


def test_what_ended_before_a_fault_has_not_healed_it(book: BoardBook, clock: Clock) -> None:
    clock.now = 10.0
    book.worked(began=2.0)
    book.recovered(climbed("reset", 4.0))
    assert book.end_of(11.0) is None


def test_a_board_that_is_given_up_has_not_recovered(book: BoardBook, clock: Clock) -> None:
    clock.now = 10.0
    book.recovered(climbed(QUARANTINE, 8.0))
    assert book.end_of(1.0) == Ended(10.0, "")
    assert book.end_of(5.0) == Ended(10.0, ""), "the fault struck while the ladder was climbed"
    assert book.end_of(11.0) is None


def test_a_frame_amid_a_recovery_is_told_from_one_behind_it(book: BoardBook, clock: Clock) -> None:
    clock.now = 10.0
    book.recovered(climbed("resync", 4.0))
    assert [book.climbing(at) for at in (5.0, 7.0, 11.0)] == [False, True, False]


class Wire:
    """Takes the place of a board's faults: strikes when it is told to, at the end of the socket."""

    def __init__(self) -> None:
        self.armed = threading.Event()
        self.struck: Callable[[], None] = lambda: None
        self.healed: Callable[[], None] = lambda: None
        self.at_once = False

    def arm(self, _fault: Fault, struck: Callable[[], None], healed: Callable[[], None]) -> None:
        self.struck, self.healed = struck, healed
        if self.at_once:
            struck()
        self.armed.set()

    def disarm(self) -> None:
        """What has not struck will not."""
        self.struck = lambda: None


@contextmanager
def served(wire: Wire, folder: Path) -> Iterator[None]:
    loop = Loop()
    server = ControlServer(loop, wire, folder)  # type: ignore[arg-type]
    here, there = socket.socketpair()
    loop.on_readable(there.fileno(), loop.stop)
    thread = threading.Thread(target=loop.run, daemon=True)
    thread.start()
    try:
        yield
    finally:
        here.send(b"stop")
        thread.join()
        server.close()
        here.close()
        there.close()


@pytest.fixture
def wire(tmp_path: Path) -> Iterator[Wire]:
    wire = Wire()
    with served(wire, tmp_path):
        yield wire


def test_a_fault_that_is_taken_back_will_not_strike(wire: Wire, tmp_path: Path) -> None:
    armed = ArmedFault(tmp_path, Fault("hang"))
    assert wire.armed.wait(5)
    assert armed.take_back(5)
    armed.close()


def test_a_fault_cannot_be_taken_back_once_it_has_struck(wire: Wire, tmp_path: Path) -> None:
    wire.at_once = True
    armed = ArmedFault(tmp_path, Fault("hang"))
    assert wire.armed.wait(5)
    assert not armed.take_back(5)
    assert armed.at > 0
    armed.close()


class Bit:
    """A board as far as faults and ladder need one. Broken, it is brought back by `rung`."""

    def __init__(self, folder: Path, rung: str) -> None:
        self.name = "bit"
        self.ends = SimpleNamespace(serial=str(folder / "serial"))
        self.exclusive = threading.Lock()
        self.quarantine: str | None = None
        self.recovering_since: float | None = None
        self.broken = False
        self.asked = 0
        self.on_recovery: Callable[[Recovery], None] = lambda _recovery: None
        self._rung = rung

    def log(self, _line: str) -> None:
        """Nobody reads it."""

    def device(self) -> Bit:
        return self

    @contextmanager
    def cancellable(self, _event: threading.Event) -> Iterator[None]:
        yield

    def stats(self) -> None:
        self.asked += 1
        if self.broken:
            raise DeviceError("has reset")

    def check(self, _cancelled: threading.Event) -> None:
        """It is well, unless its session has said otherwise."""

    def recover(self, _cancelled: threading.Event, reason: str) -> None:
        self.broken = False
        self.on_recovery(Recovery(self.name, self._rung, reason, 0.0))
        if self._rung == QUARANTINE:
            self.quarantine = "does not come back"
            raise InfrastructureError(self.quarantine)


def one_fault(board: Bit, kind: str, queue: Queue | None = None) -> tuple[Injector, list[Injected], Queue]:
    queue = Queue([Planned(0, kind, 1)]) if queue is None else queue
    told: list[Injected] = []
    injector = Injector([board], queue, {"bit": Path("wrong.bin")}, told.append)  # type: ignore[list-item]
    return injector, told, queue


@pytest.mark.parametrize("rung", ["resync", "reset", "flash", "power-cycle"])
def test_a_fault_that_strikes_after_the_last_job_is_closed_by_the_rung_that_healed_it(
    wire: Wire, tmp_path: Path, rung: str
) -> None:
    board = Bit(tmp_path, rung)
    wire.at_once = True
    injector, told, queue = one_fault(board, "hang")
    with injector:
        assert wire.armed.wait(5)
        board.broken = True
        (fault,) = injector.settle()
    assert fault.rung == rung
    assert [found.number for found in told] == [0]
    assert len(queue) == 0


def test_a_fault_that_does_no_harm_is_closed_by_work(wire: Wire, tmp_path: Path) -> None:
    board = Bit(tmp_path, "reset")
    wire.at_once = True
    injector, _, _ = one_fault(board, "slow")
    with injector:
        assert wire.armed.wait(5)
        (fault,) = injector.settle()
    assert fault.rung == "link"
    assert board.asked >= 1


def test_a_fault_of_a_board_that_is_given_up_is_told_as_not_recovered(wire: Wire, tmp_path: Path) -> None:
    board = Bit(tmp_path, QUARANTINE)
    wire.at_once = True
    injector, _, _ = one_fault(board, "probe-gone")
    with injector:
        assert wire.armed.wait(5)
        board.broken = True
        (fault,) = injector.settle()
    assert fault.rung == ""


def test_a_fault_that_has_not_struck_waits_for_the_next_leg(wire: Wire, tmp_path: Path) -> None:
    injector, told, queue = one_fault(Bit(tmp_path, "reset"), "hang")
    with injector:
        assert wire.armed.wait(5)
        assert injector.settle() == []
    assert told == []
    assert queue.take() == Planned(0, "hang", 1)


def test_what_takes_more_than_a_resync_waits_while_the_disk_is_full(wire: Wire, tmp_path: Path) -> None:
    """Flashing takes room."""
    injector, told, queue = one_fault(Bit(tmp_path, "reset"), "hang")
    with injector:
        assert wire.armed.wait(5)
        assert injector.hold()
        wire.at_once = True
        wire.armed.clear()
        assert not wire.armed.wait(0.5)
        injector.resumed(0.0)
        assert wire.armed.wait(5)
        injector.settle()
    assert [fault.number for fault in told] == [0]
    assert len(queue) == 0


def test_the_disk_does_not_fill_while_such_a_fault_is_open(wire: Wire, tmp_path: Path) -> None:
    wire.at_once = True
    injector, _, _ = one_fault(Bit(tmp_path, "reset"), "hang")
    with injector:
        assert wire.armed.wait(5)
        assert not injector.hold()


def test_a_leg_that_is_interrupted_ends_at_once_whatever_is_open(wire: Wire, tmp_path: Path) -> None:
    wire.at_once = True
    struck = threading.Event()
    queue = Queue([Planned(0, "hang", 1)])
    injector = Injector([Bit(tmp_path, "reset")], queue, {"bit": Path("wrong.bin")}, lambda _fault: struck.set())  # type: ignore[list-item]
    with injector:
        assert struck.wait(5)
    assert not [thread for thread in threading.enumerate() if thread.name == "faults-bit"]


def test_a_soak_does_not_end_before_its_meters_have_frozen_and_come_back() -> None:
    with MeterBench([Planned(3, METER, 1)]) as meters:
        meters.freeze(0.4)  # rounded: none is due yet
        meters.finish()
        faults, wrong = meters.take()
    assert [(fault.number, fault.rung) for fault in faults] == [(3, REOPEN)]
    assert wrong == []


def test_meters_that_were_not_due_are_left_for_the_resumed_soak() -> None:
    with MeterBench([Planned(3, METER, 1)]) as meters:
        meters.freeze(0.0)
    assert meters.take() == ([], [])


def test_a_soak_that_ended_early_is_resumed_and_a_complete_one_is_not(tmp_path: Path) -> None:
    settings = SoakSettings(("drop",), 10, 1, minutes=5.0)
    folder = tmp_path / "soaks" / "soak-20260101-000000"
    folder.mkdir(parents=True)
    (folder / "settings.json").write_text(json.dumps({"faults": ["drop"], "count": 10, "seed": 1}))
    assert _folder(tmp_path, settings, resume=True) == folder, "it was interrupted"
    (folder / "soak.json").write_text(json.dumps({"complete": False}))
    assert _folder(tmp_path, settings, resume=True) == folder, "its minutes were over"
    (folder / "soak.json").write_text(json.dumps({"complete": True}))
    with pytest.raises(ConfigError, match="no unfinished soak"):
        _folder(tmp_path, settings, resume=True)
