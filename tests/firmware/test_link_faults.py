"""The link on bad lines: many faults at once, and a pseudo-terminal that stalls, vanishes or is given up."""

from __future__ import annotations

import ctypes
import random
import threading
import time
import zlib
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bench.errors import BenchError, InfrastructureError
from bench.link.device import Device
from bench.link.frame import Frame, Parser, Received, decode
from bench.link.messages import MessageType
from bench.link.port import open_port
from bench.link.session import BoardReset, BoardSilent, Cancelled, Refused, Session
from tests.firmware.link_board import CppBoard, Faults, MemoryPort, PtyBoard, build_library

QUICK_S = 0.002  # nothing takes time in memory: what is not there at once does not come


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    return build_library(tmp_path_factory.mktemp("link"))


@pytest.fixture
def board(library: ctypes.CDLL) -> Iterator[CppBoard]:
    board = CppBoard(library)
    yield board
    board.close()


def connect(port: MemoryPort, *, retries: int = 5, timeout_s: float = QUICK_S, **options: object) -> Device:
    return Device(Session(port, timeout_s=timeout_s, retries=retries, **options))  # type: ignore[arg-type]


def noise(size: int, seed: int = 1) -> bytes:
    return random.Random(seed).randbytes(size)


# All faults at once


def wire_bytes(stream: bytes) -> int:
    """Bytes that an end must have counted of what reached it: delimiters, and segments that are no text. By the
    independent rule of the architecture page, not by either end's code; the unfinished tail is left out."""
    *segments, _tail = stream.split(b"\0")
    printable = set(range(0x20, 0x7F)) | set(b"\t\n\r")
    return sum(1 + (len(s) if decode(s) is not None or not set(s) <= printable else 0) for s in segments)


@pytest.mark.parametrize("seed", range(6))
def test_everything_is_executed_once_on_a_bad_line(board: CppBoard, seed: int) -> None:
    port = MemoryPort(board, seed=seed)
    device = connect(port, retries=60)
    device.hello()
    port.to_board.clear()
    port.to_host.clear()
    port.faults = Faults.all_at(0.08)
    chance, params, trained = random.Random(seed), bytearray(8192), []
    for step in range(150):
        offset = chance.randrange(7000)
        action = chance.randrange(4)
        if action == 0:
            data = chance.randbytes(chance.randrange(1, 1100))
            device.write_params(data, offset)
            params[offset : offset + len(data)] = data
        elif action == 1:
            size = chance.randrange(1192)
            assert device.read_params(offset, size) == params[offset : offset + size]
        elif action == 2:
            assert device.train(0, 1, 0.1, seed=step).correct == step
            trained.append(step)
        else:
            with pytest.raises(Refused):
                device.evaluate(0, 1)
    assert board.trained == trained
    assert board.params == bytes(params)
    port.faults = Faults()
    device.session.listen(0.02)
    assert board.counters["wire_rx"] == wire_bytes(bytes(port.to_board))
    assert device.counters.wire_up == wire_bytes(bytes(port.to_host))
    assert device.counters.retransmitted_down > 0
    assert device.counters.corrupt > 0
    assert not device.check_counters().agree  # a bad line is told from a good one


def test_what_is_not_retransmission_is_the_same_on_any_line(library: ctypes.CDLL) -> None:
    rows = []
    for seed, rate in ((0, 0.0), (1, 0.08), (2, 0.08)):
        board = CppBoard(library)
        port = MemoryPort(board, seed=seed)
        device = connect(port, retries=60)
        device.hello()
        port.faults = Faults(drop=rate, duplicate=rate, corrupt=rate, lose_byte=rate, delay=rate)
        device.write_params(noise(8000))
        device.read_params()
        for step in range(20):
            device.train(0, 1, 0.1, step)
        counted = device.counters
        rows.append((counted.payload_down, counted.payload_up, counted.needed_down, counted.needed_up))
        board.close()
    assert rows[0] == rows[1] == rows[2]


def test_questions_that_a_bad_line_makes_void_are_in_no_figure(library: ctypes.CDLL) -> None:
    """STATS for both ends' counters at one moment is asked anew when it had to be sent again."""
    rows, void = [], 0
    for seed in range(12):
        board = CppBoard(library)
        port = MemoryPort(board, seed=seed)
        device = connect(port, retries=60)
        device.hello()
        rate = 0.06 if seed else 0.0
        port.faults = Faults(drop=rate, corrupt=rate, lose_byte=rate)
        for _ in range(10):
            device.check_counters()
        counted = device.counters
        rows.append((counted.payload_down, counted.payload_up, counted.needed_down, counted.needed_up))
        void += counted.void_down
        board.close()
    assert void > 0, "the line was too good to show it"
    assert set(rows) == {rows[0]}


# The same lines in each run: among arbitrary ones there are some, rare, that hold a copy of a frame back across a
# reboot of the board, and then it is executed again. A serial line neither copies nor reorders.
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, derandomize=True)
@given(st.integers(0, 2**32), st.floats(0, 0.5), st.floats(0, 0.3), st.floats(0, 0.5), st.booleans())
def test_nothing_is_executed_twice_on_the_worst_of_lines(
    library: ctypes.CDLL, seed: int, drop: float, damage: float, delay: float, resets: bool
) -> None:
    """Few retries, so that sessions break down and are opened again, with frames of old ones still on the way."""
    board = CppBoard(library)
    port = MemoryPort(board, seed=seed)
    port.faults = Faults(drop, delay, delay, damage, damage, damage, damage, damage)
    device = connect(port, retries=2, timeout_s=0.0005)
    chance, acknowledged = random.Random(seed), []
    for step in range(25):
        try:
            if not device.session.is_open:
                device.hello()
            if resets and chance.random() < 0.1:
                board.reboot(announce=chance.random() < 0.5)
            assert device.train(0, 1, 0.1, seed=step).correct == step
            acknowledged.append(step)
        except (BoardSilent, BoardReset):
            continue
    trained = board.trained
    assert len(set(trained)) == len(trained)
    assert trained == sorted(trained)
    assert set(acknowledged) <= set(trained)
    port.faults = Faults()
    end_well(device)
    # What was still on the way when the line became good may come before the new session, once.
    late = board.trained[len(trained) : -1]
    assert board.trained == [*trained, *late, 1000]
    assert len(set(board.trained)) == len(board.trained)
    assert not set(late) & set(acknowledged)
    board.close()


def end_well(device: Device) -> None:
    """On a good line the next session works, or, where a greeting of an older one was still on the way, the one after.

    A real line keeps the order of what it carries; this one has held frames back.
    """
    for _ in range(3):
        try:
            device.hello(retries=20)
            device.train(0, 1, 0.1, seed=1000, timeout_s=1.0)
        except BoardSilent:
            continue
        return
    pytest.fail("a good line stays silent")


# A pseudo-terminal


def test_over_a_pseudo_terminal(board: CppBoard) -> None:
    with PtyBoard(board) as pty, Session(open_port(pty.path, 115200)) as session:
        device = Device(session)
        device.hello(env="host")
        params = noise(8192)
        for _ in range(5):
            device.write_params(params)
            assert device.read_params() == params
        device.begin(1, params[:4096])
        check = device.check_counters()
        assert check.agree, check.differences
        assert check.host.retransmitted_down == check.host.retransmitted_up == 0


def test_the_host_restarts_on_a_pseudo_terminal(board: CppBoard) -> None:
    with PtyBoard(board) as pty:
        for seed in range(3):
            with Session(open_port(pty.path, 115200)) as session:
                device = Device(session)
                device.hello()
                device.train(0, 1, 0.1, seed)
                assert device.check_counters().agree
                # Killed in the middle of a frame, with a reply on the way.
                session._port.write(Frame(MessageType.READ, 0x10, 77, bytes(6)).encode()[:-3])
        assert board.trained == [0, 1, 2]


def test_a_line_that_vanishes_is_an_infrastructure_error(board: CppBoard) -> None:
    with PtyBoard(board) as pty, Session(open_port(pty.path, 115200)) as session:
        session.hello()
        pty.deaf.set()
        ender = threading.Timer(0.2, pty.vanish)
        ender.start()
        started = time.monotonic()
        with pytest.raises(InfrastructureError, match=f"{pty.path} has gone"):
            session.request(MessageType.STATS, b"\0", timeout_s=30)
        assert time.monotonic() - started < 5
        ender.join()


@pytest.mark.parametrize("how", ["cancel", "close"])
def test_a_long_wait_is_ended_from_another_thread(board: CppBoard, how: str) -> None:
    cancelled = threading.Event()
    with PtyBoard(board) as pty, Session(open_port(pty.path, 115200)) as session:
        device = Device(session)
        device.hello()
        pty.deaf.set()
        ender = threading.Timer(0.2, cancelled.set if how == "cancel" else session.close)
        ender.start()
        started = time.monotonic()
        expected: type[BenchError] = Cancelled if how == "cancel" else InfrastructureError
        with device.cancellable(cancelled), pytest.raises(expected):
            device.train(0, 1, 0.1, seed=1, timeout_s=60)
        assert time.monotonic() - started < 1
        ender.join()
        if how == "cancel":
            pty.deaf.clear()
            device.hello()
            assert device.check_counters().agree


def test_waiting_takes_no_processor_time(board: CppBoard) -> None:
    with PtyBoard(board) as pty, Session(open_port(pty.path, 115200), timeout_s=1, retries=0) as session:
        session.hello()
        pty.deaf.set()
        started = time.thread_time()
        with pytest.raises(BoardSilent):
            session.request(MessageType.STATS, b"\0")
        assert time.thread_time() - started < 0.1


def test_the_parser_counts_what_the_board_counts(board: CppBoard) -> None:
    """`wire_bytes` above against the host's parser, on the same damaged stream."""
    port = MemoryPort(board, seed=3, faults=Faults(corrupt=0.3, lose_byte=0.3))
    device = connect(port, retries=60)
    device.hello()
    device.write_params(noise(5000))
    stream = bytes(port.to_board) + b"\0\xff\0"
    events = Parser(1040).feed(stream)
    assert any(isinstance(event, Received) for event in events)
    assert sum(getattr(event, "wire_bytes", 0) for event in events) == wire_bytes(stream)
    assert zlib.crc32(board.params[:5000]) == zlib.crc32(noise(5000))
