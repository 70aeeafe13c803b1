"""Faults on purpose: the wire that carries them, the plan that draws them, and what a soak makes of them."""

from __future__ import annotations

import itertools
import socket
import threading
from collections import Counter
from pathlib import Path

import pytest
from loop_time import run_for

from bench.cli import parser
from bench.errors import ConfigError, InfrastructureError
from bench.link.frame import Frame
from bench.soak.plan import SHARES, Planned, Queue, detailed, kinds_of, make_plan
from bench.soak.record import LINK, Injected, Leg, markdown, passed, totals
from bench.virtual.faults.control import ArmedFault, ControlServer
from bench.virtual.faults.spec import Fault
from bench.virtual.faults.wire import FaultyWire
from bench.virtual.loop import Loop

SENT = bytes(range(200))
FRAME = Frame(5, 0x11, 7, b"payload").encode()


def carried(loop: Loop, fault: Fault, parts: int = 1) -> bytes:
    """What comes of SENT on its way to the board, in so many parts."""
    wire, got = FaultyWire(loop), bytearray()
    wire.board = got.extend
    wire.arm(fault, lambda: None)
    size = len(SENT) // parts
    for at in range(0, len(SENT), size):
        wire.to_board(SENT[at : at + size])
    return bytes(got)


def test_nothing_happens_to_bytes_before_a_faults_time_and_behind_it(loop: Loop) -> None:
    for kind in ("bit-flip", "drop", "burst"):
        got = carried(loop, Fault(kind, after=100, size=4, seed=1))
        assert got != SENT
        assert got.startswith(SENT[:100])
        assert got.endswith(SENT[104:])


def test_a_flip_changes_one_bit_of_each_byte(loop: Loop) -> None:
    got = carried(loop, Fault("bit-flip", after=50, size=3, seed=2))
    changed = [(at, old ^ new) for at, (old, new) in enumerate(zip(SENT, got, strict=True)) if old != new]
    assert [at for at, _ in changed] == [50, 51, 52]
    assert all(bits.bit_count() == 1 for _, bits in changed)


def test_a_drop_loses_its_bytes_and_a_burst_keeps_their_number(loop: Loop) -> None:
    assert carried(loop, Fault("drop", after=10, size=5)) == SENT[:10] + SENT[15:]
    assert len(carried(loop, Fault("burst", after=10, size=64, seed=3))) == len(SENT)


def test_a_fault_is_the_same_however_the_bytes_come(loop: Loop) -> None:
    for kind in ("bit-flip", "drop", "burst"):
        fault = Fault(kind, after=37, size=30, seed=4)
        assert carried(loop, fault, parts=1) == carried(loop, fault, parts=50)


def test_a_stalled_line_loses_nothing(loop: Loop) -> None:
    wire, board, host = FaultyWire(loop), bytearray(), bytearray()
    wire.board, wire.host = board.extend, host.extend
    wire.arm(Fault("stall", after=3, seconds=0.05), lambda: None)
    wire.to_board(b"abcdef")
    wire.to_host(b"xyz")
    assert not board
    assert not host
    run_for(loop, 0.1)
    assert (bytes(board), bytes(host)) == (b"abcdef", b"xyz")


def test_a_line_is_healed_when_a_whole_frame_has_come_from_the_board(loop: Loop) -> None:
    wire, healed = FaultyWire(loop), []
    wire.arm(Fault("bit-flip", "up", after=5), lambda: None, lambda: healed.append(True))
    wire.to_host(FRAME)
    assert not healed, "the frame that it hit is none"
    wire.to_host(FRAME[:4])
    assert not healed
    wire.to_host(FRAME[4:])
    assert healed


class Recorded:
    """Takes the place of a board's faults at the end of their socket."""

    def __init__(self) -> None:
        self.armed: list[Fault] = []
        self.disarmed = 0

    def arm(self, fault: Fault, struck: object, healed: object) -> None:
        self.armed.append(fault)
        struck()
        healed()

    def disarm(self) -> None:
        self.disarmed += 1


def test_faults_come_through_a_socket_however_long_its_path_is(loop: Loop, tmp_path: Path) -> None:
    folder = tmp_path / ("long" * 30)
    folder.mkdir()
    faults = Recorded()
    server = ControlServer(loop, faults, folder)
    thread = threading.Thread(target=run_for, args=(loop, 1.0))
    thread.start()
    armed = ArmedFault(folder, Fault("drop", after=9))
    assert armed.wait("struck", 1)
    assert armed.wait("healed", 1)
    armed.close()
    thread.join()
    assert faults.armed == [Fault("drop", after=9)]
    assert faults.disarmed == 1
    server.close()
    with pytest.raises(InfrastructureError, match="no virtual board takes faults here"):
        ArmedFault(folder, Fault("drop"))


def test_what_is_no_fault_is_refused_with_the_field(loop: Loop, tmp_path: Path) -> None:
    server = ControlServer(loop, Recorded(), tmp_path)
    client = socket.socket(socket.AF_UNIX)
    client.connect(str(tmp_path / "control"))
    client.sendall(b'{"kind": "drop", "size": 0}')
    run_for(loop, 0.05)
    assert client.recv(1000).startswith(b"refused: size: Input should be greater than or equal to 1")
    client.close()
    server.close()


def test_a_plan_has_the_number_that_was_asked_for_and_of_each_kind_its_share() -> None:
    plan = make_plan(tuple(SHARES), 10_000, 1, 6)
    counts = Counter(planned.kind for planned in plan)
    assert len(plan) == 10_000
    assert [planned.number for planned in plan] == list(range(10_000))
    assert min(counts.values()) >= 50, "the least that is to be tried of each"
    assert counts.keys() == SHARES.keys()
    small = Counter(planned.kind for planned in make_plan(tuple(SHARES), 20, 1, 6))
    assert small.keys() == SHARES.keys()
    assert sum(small.values()) == 20


def test_the_help_tells_each_kinds_share(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parser().parse_args(["soak", "--help"])
    said = " ".join(capsys.readouterr().out.split())
    rare = [kind for kind, share in SHARES.items() if share == 0.0055]
    assert f"0.55 % each {', '.join(rare)}: 55 of 10,000" in said
    for kind in SHARES.keys() - rare:
        assert f"{kind} {SHARES[kind] * 100:g} %" in said


def test_a_plan_is_its_seeds_alone() -> None:
    plans = [make_plan(tuple(SHARES), 100, seed, 3) for seed in (1, 1, 2)]
    assert plans[0] == plans[1] != plans[2]
    planned = next(one for one in plans[0] if one.kind == "burst")
    assert detailed(planned, "x") == detailed(planned, "x")


def test_costly_faults_come_together() -> None:
    plan = [planned.kind for planned in make_plan(tuple(SHARES), 1000, 1, 5)]
    heavy = [at for at, kind in enumerate(plan) if kind in ("hang", "wrong-build", "brown-out", "probe-gone")]
    beside = sum(later - earlier == 1 for earlier, later in itertools.pairwise(heavy))
    assert beside >= len(heavy) * 3 // 5


def test_kinds_that_there_are_not_and_counts_that_are_too_small() -> None:
    assert kinds_of("hang, drop,hang") == ("hang", "drop")
    with pytest.raises(ConfigError, match="no kind 'hangs': say all, or some of bit-flip, "):
        kinds_of("hangs")
    with pytest.raises(ConfigError, match="--count 3: 14 kinds"):
        make_plan(kinds_of("all"), 3, 1, 1)


def test_what_was_put_back_is_the_next() -> None:
    queue = Queue([Planned(0, "drop", 1), Planned(1, "burst", 2)])
    first = queue.take()
    assert first is not None
    queue.put_back(first)
    assert [queue.take(), queue.take()] == [first, Planned(1, "burst", 2)]
    assert queue.take() is None


def leg(**changes: object) -> Leg:
    faults = tuple(Injected(n, "drop", "bit", "2026-01-01", {}, LINK, 1.0 + n) for n in range(3))
    given = {
        "number": 1,
        "faults": faults,
        "updates": 24,
        "lost_updates": 0,
        "duplicated_updates": 0,
        "left_out": 0,
        "hangs": 0,
        "wrong_figures": (),
        "weights_equal": True,
        "seconds": 3.0,
        "faults_s": 1.5,
        "settling_s": 0.5,
        "repetition_s": 1.0,
    }
    return Leg(**{**given, **changes})


@pytest.mark.parametrize(
    "changes",
    [
        {"lost_updates": 1},
        {"duplicated_updates": 1},
        {"hangs": 1},
        {"wrong_figures": ("wire_up: 1.0 and 2.0",)},
        {"weights_equal": False},
        {"faults": (Injected(0, "hang", "bit", "2026-01-01", {}),)},
    ],
)
def test_a_soak_fails_by_any_of_its_totals(changes: dict[str, object]) -> None:
    assert passed(totals([leg(), leg()], 0))
    assert not passed(totals([leg(), leg()], 1)), "a process is left"
    assert not passed(totals([leg(), leg(**changes)], 0))


def test_the_table_says_which_rung_healed_how_many_and_how_long_it_took() -> None:
    document = totals([leg()], 0)
    assert document["kinds"] == [
        {
            "fault": "drop",
            "injected": 3,
            "recovered": 3,
            "rungs": {"link": 3},
            "median_s": 2.0,
            "p95_s": 3.0,
            "most_s": 3.0,
        }
    ]
    assert "| drop | 3 | 3 | link 3 | 2.00 s | 3.00 s | 3.00 s |" in markdown(document)
    assert Leg.from_document(leg().document()) == leg()
