"""Bulk transfers keep the line busy: the next request is on its way while one is answered, and still each is executed
once and in order, whatever is lost."""

from __future__ import annotations

import ctypes
import random
from collections.abc import Iterator

import pytest

from bench.link.device import Device
from bench.link.frame import Frame, decode
from bench.link.messages import READ, WRITE, MessageType
from bench.link.session import BoardReset, BoardSilent, Refused, Session
from tests.firmware.link_board import CppBoard, Faults, MemoryPort, build_library


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    return build_library(tmp_path_factory.mktemp("link"))


@pytest.fixture
def board(library: ctypes.CDLL) -> Iterator[CppBoard]:
    board = CppBoard(library)
    yield board
    board.close()


class SlowPort(MemoryPort):
    """Requests reach the board only when the host reads: what was written by then was on the line at once.

    `lose` and `lose_replies` name transmissions, counted from 0 behind the HELLO, that never arrive.
    """

    def __init__(self, board: CppBoard) -> None:
        super().__init__(board)
        self.lose: set[int] = set()
        self.lose_replies: set[int] = set()
        self.at_once: list[int] = []
        self._waiting: list[bytes] = []
        self._number = -1

    def write(self, data: bytes) -> None:
        self._waiting.append(data)

    def read(self, timeout_s: float) -> bytes:
        if self._waiting:
            self.at_once.append(len(self._waiting))
        waiting, self._waiting = self._waiting, []
        for data in waiting:
            if self._number not in self.lose:
                super().write(data)
            if self._number in self.lose_replies:
                self._arrived.clear()
            self._number += 1
        return super().read(timeout_s)


def connect(port: MemoryPort, retries: int = 5) -> Device:
    device = Device(Session(port, timeout_s=0.002, retries=retries))
    device.hello()
    return device


def noise(size: int, seed: int = 1) -> bytes:
    return random.Random(seed).randbytes(size)


def types(port: MemoryPort) -> list[tuple[int, int]]:
    """(type, sequence) of all that the host has written behind the HELLO."""
    frames = [decode(data.strip(b"\0")) for data in port.writes[1:]]
    return [(frame.type, frame.sequence) for frame in frames if frame is not None]


def test_two_requests_are_on_their_way_at_once(board: CppBoard) -> None:
    port = SlowPort(board)
    device = connect(port)
    data = noise(8192)
    told: list[tuple[int, int]] = []
    device.write_params(data, progress=lambda done, total: told.append((done, total)))
    assert max(port.at_once) == 2
    assert device.read_params() == data == board.params
    assert told == [(min(1020 * n, 8192), 8192) for n in range(1, 10)]
    assert device.check_counters().agree
    assert device.counters.retransmitted_down == 0


def test_a_window_of_one_is_stop_and_wait(board: CppBoard) -> None:
    port = SlowPort(board)
    device = connect(port)
    payloads = [WRITE.pack(4 * n) + noise(4) for n in range(5)]
    del port.at_once[:]
    device.session.request_each(MessageType.WRITE, payloads, window=1)
    assert port.at_once == [1] * 5


@pytest.mark.parametrize("lost", range(1, 9))
def test_a_lost_request_is_sent_again_with_all_behind_it(board: CppBoard, lost: int) -> None:
    port = SlowPort(board)
    device = connect(port)
    port.lose = {lost}
    data = noise(8192)
    device.write_params(data)
    assert board.params == data
    assert board.executed == 9, "each chunk was executed once"
    sequences = [sequence for _, sequence in types(port)]
    assert len(set(sequences)) == 9
    assert device.counters.retransmitted_down > 0


@pytest.mark.parametrize("lost", range(9))
def test_a_lost_answer_to_a_write_is_not_missed(board: CppBoard, lost: int) -> None:
    port = SlowPort(board)
    device = connect(port)
    port.lose_replies = {lost}
    data = noise(8192)
    device.write_params(data)
    assert board.params == data
    assert board.executed == 9
    empty = len(Frame(MessageType.WRITE, 0x11, 1).encode())
    assert device.counters.needed_up == 9 * empty, "as on a line that loses nothing"
    assert device.read_params(0, 100) == data[:100]


@pytest.mark.parametrize("lost", range(8))
def test_a_lost_answer_to_a_read_is_asked_for_again(board: CppBoard, lost: int) -> None:
    device = connect(MemoryPort(board))
    data = noise(8192)
    device.write_params(data)
    port = SlowPort(board)
    device = connect(port)
    port.lose_replies = {lost}
    assert device.read_params() == data
    assert device.counters.payload_down == 8 * READ.size
    assert device.counters.payload_up == 8192


def test_counted_bytes_are_those_of_a_good_line(library: ctypes.CDLL) -> None:
    rows = []
    for seed, rate in ((0, 0.0), (1, 0.06), (2, 0.06), (3, 0.06)):
        board = CppBoard(library)
        port = MemoryPort(board, seed=seed)
        device = connect(port, retries=60)
        port.faults = Faults(drop=rate, duplicate=rate, corrupt=rate, lose_byte=rate, delay=rate)
        device.write_params(noise(8192))
        assert device.read_params() == noise(8192)
        counted = device.counters
        rows.append((counted.payload_down, counted.payload_up, counted.wire_down - counted.retransmitted_down))
        board.close()
    assert len(set(rows)) == 1


def test_a_refusal_ends_the_transfer_and_leaves_the_session_usable(board: CppBoard) -> None:
    port = SlowPort(board)
    device = connect(port)
    payloads = [WRITE.pack(8192 - 8 + 4 * n) + noise(4) for n in range(6)]  # the third is out of range, and all behind
    done: list[int] = []
    with pytest.raises(Refused, match="OUT_OF_RANGE"):
        device.session.request_each(MessageType.WRITE, payloads, on_reply=done.append)
    assert done == [0, 1]
    assert board.executed == 4, "one more was on its way"
    assert device.read_params(0, 8) == bytes(8)


def test_a_board_that_resets_on_the_way(board: CppBoard) -> None:
    port = SlowPort(board)
    device = connect(port)
    board.reboot()
    with pytest.raises(BoardReset):
        device.write_params(noise(8192))
    device.hello()
    device.write_params(noise(8192))
    assert board.params == noise(8192)


def test_a_board_that_falls_silent(board: CppBoard) -> None:
    port = SlowPort(board)
    device = connect(port, retries=2)
    port.lose = set(range(3, 1000))
    with pytest.raises(BoardSilent, match=r"no reply to WRITE .* sent 3 times"):
        device.write_params(noise(8192))
    assert not device.session.is_open
    port.lose = set()
    device.hello()
    device.write_params(noise(8192))
    assert board.params == noise(8192)


def test_whoever_fails_on_the_way_can_open_the_session_anew(board: CppBoard) -> None:
    device = connect(SlowPort(board))

    def fail(_done: int, _total: int) -> None:
        raise ValueError("of the caller's own")

    with pytest.raises(ValueError, match="own"):
        device.write_params(noise(8192), progress=fail)
    device.hello()
    device.write_params(noise(8192))
    assert board.params == noise(8192)
