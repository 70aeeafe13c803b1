"""The firmware's session against the host's: nothing is lost, nothing is executed twice, both ends count the same."""

from __future__ import annotations

import ctypes
import random
import time
from collections.abc import Iterator

import pytest

from bench.errors import ConfigError, DeviceError, InfrastructureError
from bench.link.device import Device
from bench.link.frame import FLAG_ERROR, FLAG_REPLY, Frame, decode
from bench.link.messages import TRAIN, ErrorCode, ErrorReply, HelloRequest, MessageType
from bench.link.session import BoardReset, BoardSilent, Refused, Session
from tests.firmware.link_board import CppBoard, Faults, MemoryPort, build_library

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


# A line that works


def test_a_round_trip_of_everything(board: CppBoard) -> None:
    device = connect(MemoryPort(board))
    hello = device.hello(env="host", params_bytes=8192)
    assert (hello.protocol, hello.env, hello.chunk_bytes) == (1, "host", 1024)
    params, steps = noise(8192), []
    device.write_params(params, progress=lambda done, total: steps.append((done, total)))
    assert board.params == params
    assert steps == [(min(1020 * n, 8192), 8192) for n in range(1, 10)]
    assert device.read_params() == params
    assert device.read_params(100, 3000) == params[100:3100]
    assert device.read_params(8192, 0) == b""
    device.begin(1, params[:4096])
    assert device.train(0, 64, 0.01, 7).samples == 64
    assert not device.data_info().present
    device.write_params(b"middle", 4000)
    assert board.params[3999:4007] == params[3999:4000] + b"middle" + params[4006:4007]


def test_stream_cuts_records_into_chunks_and_counts_seeds_on(board: CppBoard) -> None:
    device = connect(MemoryPort(board))
    device.hello()
    result = device.stream(noise(21 * 100), 0.01, seed=1000)
    assert result.samples == 100
    assert board.trained == [1000, 1048, 1096]  # (1024 - 12) // 21 = 48 records a chunk
    with pytest.raises(ConfigError, match="multiple of 21"):
        device.stream(noise(22), 0.01, seed=0)


def test_refusals_are_told_and_do_not_end_the_session(board: CppBoard) -> None:
    device = connect(MemoryPort(board))
    device.hello()
    with pytest.raises(Refused, match=r"EVALUATE: DATA_ABSENT.*flash its shard") as refused:
        device.evaluate(0, 1)
    assert refused.value.code == ErrorCode.DATA_ABSENT
    with pytest.raises(Refused, match="OUT_OF_RANGE"):
        device.write_params(b"x", 8192)
    with pytest.raises(Refused, match="PARAMS_CORRUPT"):
        device.begin(1, b"others")
    for kind, payload, code in (
        (MessageType.TRAIN, b"short", ErrorCode.BAD_LENGTH),
        (MessageType.RESET, b"long", ErrorCode.BAD_LENGTH),
        (63, b"", ErrorCode.UNKNOWN_TYPE),
        (0, b"", ErrorCode.UNKNOWN_TYPE),
        (MessageType.READ, bytes(4) + b"\x00\x08", ErrorCode.OUT_OF_RANGE),  # 2048 bytes: more than a frame takes
    ):
        with pytest.raises(Refused) as refused:
            device.session.request(kind, payload)  # type: ignore[arg-type]
        assert refused.value.code == code
    assert device.session.is_open
    assert device.check_counters().agree


def test_counters_agree_and_framing_is_cheap(board: CppBoard) -> None:
    device = connect(MemoryPort(board))
    device.hello()
    ones = b"\1" * 4096  # no zeros: the worst case of COBS
    assert device.check_counters().agree
    before = device.counters.snapshot()
    device.send_round(1, ones)
    down = device.counters - before
    before = device.counters.snapshot()
    assert device.read_params(0, 4096) == ones
    up = device.counters - before
    assert 0 < down.wire_down - 4096 < 0.03 * 4096
    assert 0 < up.wire_up - 4096 < 0.03 * 4096
    check = device.check_counters()
    assert check.differences == ()
    assert (check.board.wire_rx, check.board.wire_tx) == (check.host.wire_down, check.host.wire_up)
    assert check.host.frames_down == check.host.frames_up + 1  # the STATS that brought the figures
    assert check.host.payload_up >= 4096


def test_two_runs_put_the_same_bytes_on_the_wire_hello_apart(library: ctypes.CDLL) -> None:
    runs = []
    for _ in range(2):
        port = MemoryPort(CppBoard(library))
        device = connect(port)
        device.hello()
        device.write_params(noise(8000))
        device.read_params()
        runs.append((port.writes[1:], bytes(port.to_host).split(b"\0\0", 1)[1], device.counters))
        port.board.close()
    assert runs[0] == runs[1]


# Losses and repetitions, one at a time


def test_counters_are_compared_by_a_stats_that_got_through_at_once(board: CppBoard) -> None:
    """One that was sent twice was answered from the cache, with figures from before its second copy."""

    class FirstStatsIsSlow(MemoryPort):
        def read(self, timeout_s: float) -> bytes:
            self.reads_until_arrival = 10 if len(self.writes) == 2 else 0
            return super().read(timeout_s)

    device = connect(FirstStatsIsSlow(board))
    device.hello()
    check = device.check_counters()
    assert check.host.retransmitted_down > 0
    assert check.agree, check.differences


def test_a_lost_reply_is_fetched_without_executing_again(board: CppBoard) -> None:
    port = MemoryPort(board)
    device = connect(port)
    device.hello()
    port.reads_until_arrival = 3  # the reply comes while the third copy waits
    result = device.train(0, 10, 0.1, seed=5)
    port.reads_until_arrival = 0
    assert (result.correct, result.cycles) == (5, 1)
    assert board.trained == [5]
    device.stats()  # takes in the late copies
    check = device.check_counters()
    assert check.host.retransmitted_down > 0
    assert check.host.retransmitted_up > 0
    assert check.agree, check.differences  # nothing was lost: the repetitions agree as well


def test_a_request_that_is_lost_is_sent_again(board: CppBoard) -> None:
    port = MemoryPort(board)
    device = connect(port)
    device.hello()
    port.faults = Faults(drop=1)
    with pytest.raises(BoardSilent, match=r"memory: no reply to TRAIN \(sequence 1\), sent 6 times"):
        device.train(0, 1, 0.1, seed=1)
    assert board.trained == []
    port.faults = Faults()
    with pytest.raises(InfrastructureError, match="say hello"):
        device.stats()
    device.hello()
    device.train(0, 1, 0.1, seed=2)
    assert board.trained == [2]


def test_a_copy_that_arrives_after_a_long_execution_is_answered_from_the_cache(board: CppBoard) -> None:
    port = MemoryPort(board)
    device = connect(port)
    device.hello()
    device.train(0, 1, 0.1, seed=1)
    copy, executed = port.writes[-1], board.executed
    first = board.feed(copy)
    assert first
    assert board.feed(copy) == first
    assert (board.executed, board.trained) == (executed, [1])
    port.send_up(first + first)  # and the late replies do not disturb the next request
    assert device.train(0, 1, 0.1, seed=2).correct == 2
    assert device.counters.retransmitted_up == 2 * len(first)


def test_a_read_is_repeated_from_memory_with_the_same_bytes(board: CppBoard) -> None:
    port = MemoryPort(board)
    device = connect(port)
    device.hello()
    device.write_params(noise(1000))
    device.read_params(0, 1000)
    reply = board.feed(port.writes[-1])
    frame = decode(reply[1:-1])
    assert frame is not None
    assert frame.payload == noise(1000)


def test_sequence_numbers_wrap(board: CppBoard) -> None:
    port = MemoryPort(board, faults=Faults(duplicate=0.5))
    device = connect(port, first_sequence=65530)
    device.hello()
    for seed in range(12):
        device.train(0, 1, 0.1, seed)
    assert board.trained == list(range(12))


def test_another_request_under_the_last_number_is_not_answered_from_the_cache(board: CppBoard) -> None:
    port = MemoryPort(board)
    device = connect(port)
    device.hello()
    device.train(0, 1, 0.1, seed=1)
    last = decode(port.writes[-1][1:-1])
    assert last is not None
    forged = Frame(last.type, last.flags, last.sequence, TRAIN.pack(0, 1, 1, 99))
    assert board.feed(forged.encode()) == b""
    assert board.trained == [1]


def test_frames_out_of_sequence_and_of_other_tags_are_ignored(board: CppBoard) -> None:
    port = MemoryPort(board)
    device = connect(port)
    device.hello()
    device.train(0, 1, 0.1, seed=1)
    last = decode(port.writes[-1][1:-1])
    assert last is not None
    for tag, step in ((last.tag, 2), (last.tag, -1), (last.tag, 1000), (0, 1), (last.tag + 1, 1), (last.tag + 1, 0)):
        assert board.feed(Frame(last.type, tag << 4, (last.sequence + step) & 0xFFFF, last.payload).encode()) == b""
    assert board.feed(Frame(last.type, last.flags | FLAG_REPLY, last.sequence + 1, last.payload).encode()) == b""
    assert board.feed(Frame(last.type, last.flags, last.sequence + 1, last.payload, version=2).encode()) == b""
    assert board.trained == [1]


# HELLO


def test_hello_executed_again_changes_nothing_until_a_request_has_followed(board: CppBoard) -> None:
    port = MemoryPort(board)
    device = connect(port)
    device.hello()
    hello = port.writes[0]
    again = board.feed(hello)
    assert again == bytes(port.to_host)
    assert board.hellos == 2
    port.send_up(again)  # crosses with the first request
    device.train(0, 1, 0.1, seed=1)
    assert device.check_counters().agree
    train = port.writes[1]
    assert board.feed(hello) == b""  # late: the session goes on
    assert board.feed(train) == b""  # and this is neither the last request nor the next one
    assert board.hellos == 2
    device.train(0, 1, 0.1, seed=2)
    assert board.trained == [1, 2]
    assert device.check_counters().agree is False  # the board was sent what we did not send
    device.hello()
    assert device.check_counters().agree


def test_a_hello_of_an_earlier_session_cannot_reopen_it(board: CppBoard) -> None:
    port = MemoryPort(board)
    device = connect(port)
    device.hello()
    device.train(0, 1, 0.1, seed=1)
    old_hello, old_train = port.writes[:2]
    for _ in range(3):
        device.hello()
    assert board.feed(old_hello) == b""
    assert board.feed(old_train) == b""
    device.train(0, 1, 0.1, seed=2)
    assert board.trained == [1, 2]


def test_slow_hellos_cross_and_counters_still_agree(board: CppBoard) -> None:
    port = MemoryPort(board)
    device = connect(port)
    port.reads_until_arrival = 4
    device.hello()
    port.reads_until_arrival = 0
    assert board.hellos > 1
    device.write_params(noise(3000))
    assert device.check_counters().agree


@pytest.mark.parametrize("payload", [b"", bytes(7), HelloRequest(0, 1).pack(), HelloRequest(16, 1).pack()])
def test_a_malformed_hello_is_refused_and_the_session_goes_on(board: CppBoard, payload: bytes) -> None:
    port = MemoryPort(board)
    device = connect(port)
    device.hello()
    reply = decode(board.feed(Frame(MessageType.HELLO, 0x20, 0, payload).encode())[1:-1])
    assert reply is not None
    assert reply.is_error
    assert device.stats().frames_rx == 1


def test_a_restarted_host_is_not_taken_in_by_old_replies(board: CppBoard) -> None:
    """The first host dies while its request is executed; the new one starts with the same tag and sequence."""
    port = MemoryPort(board)
    first = connect(port)
    first.hello()
    first.train(0, 1, 0.1, seed=1)
    port.send_up(board.feed(port.writes[-1]) * 3)  # replies that nobody has read
    port.send_up(bytes(port.to_host))  # the first HELLO's reply as well
    second = connect(port)
    second.hello()
    assert second.counters.wire_up == 0
    assert second.train(0, 1, 0.1, seed=2).correct == 2
    assert board.trained == [1, 2]
    assert second.check_counters().agree


def test_half_a_frame_of_a_dead_host_does_not_spoil_the_next_hello(board: CppBoard) -> None:
    port = MemoryPort(board)
    connect(port).hello()
    board.feed(Frame(MessageType.WRITE, 0x10, 1, bytes(500)).encode()[:200])
    device = connect(port)
    device.hello()
    assert device.check_counters().agree


def test_a_board_of_another_link_version_is_named(board: CppBoard) -> None:
    class Newer(MemoryPort):
        def write(self, data: bytes) -> None:
            frame = decode(data[1:-1])
            assert frame is not None
            self.send_up(Frame(frame.type, frame.flags | FLAG_REPLY, frame.sequence, b"", version=2).encode())

    with pytest.raises(DeviceError, match="link version 2, this bench 1"):
        connect(Newer(board)).hello()


def test_a_board_that_is_not_the_one_asked_for_is_refused(board: CppBoard) -> None:
    device = connect(MemoryPort(board))
    with pytest.raises(DeviceError, match=r"image is for 'host', not 'microbit'.*its plan is 0000000000000000, not"):
        device.hello(env="microbit", plan_id=b"12345678")


# Resets


def test_a_reset_board_answers_no_session(board: CppBoard) -> None:
    device = connect(MemoryPort(board))
    device.hello()
    board.reboot()
    with pytest.raises(BoardReset, match="has reset before it answered TRAIN"):
        device.train(0, 1, 0.1, seed=1)
    assert board.trained == []
    device.hello()
    device.train(0, 1, 0.1, seed=2)
    assert board.trained == [2]
    assert device.check_counters().agree


def test_a_boot_is_noticed_at_once_while_a_long_request_waits(board: CppBoard) -> None:
    port, lines = MemoryPort(board), []
    device = connect(port, on_log=lines.append)
    device.hello()
    port.faults = Faults(drop=1)  # the request does not arrive, and its reply would be due in a minute
    board.reboot(announce=True)
    port.send_up(board.take())
    started = time.monotonic()
    with pytest.raises(BoardReset):
        device.train(0, 1, 0.1, seed=1, timeout_s=60)
    assert time.monotonic() - started < 1
    assert lines == ["boot"]
    port.faults = Faults()
    device.hello()
    assert device.check_counters().agree


def test_reset_on_request(board: CppBoard) -> None:
    port, lines = MemoryPort(board), []
    device = connect(port, on_log=lines.append)
    device.hello()
    device.reset()
    assert not device.session.is_open
    device.hello()
    assert lines == ["boot"]


def test_reset_is_done_even_if_its_reply_is_lost(board: CppBoard) -> None:
    class Deaf(MemoryPort):
        def write(self, data: bytes) -> None:
            super().write(data)
            if len(self.writes) == 2:
                self.forget_arrived()

    device = connect(Deaf(board))
    device.hello()
    device.reset()
    device.hello()


def test_no_session_for_a_board_that_never_had_one(board: CppBoard) -> None:
    reply = decode(board.feed(Frame(MessageType.STATS, 0x30, 9, b"\0").encode())[1:-1])
    error = ErrorReply(ErrorCode.NO_SESSION, 0)
    assert reply == Frame(MessageType.STATS, 0x30 | FLAG_REPLY | FLAG_ERROR, 9, error.pack())


# Text


def test_text_between_frames_is_log_and_counted_apart(board: CppBoard) -> None:
    lines: list[str] = []
    device = connect(MemoryPort(board), on_log=lines.append)
    device.hello()
    board.set_chatty(True)
    for seed in range(3):
        device.train(0, 1, 0.1, seed)
    check = device.check_counters()
    assert lines == ["half way"] * 3
    assert check.agree
    assert check.host.log == check.board.log_tx == 3 * len("half way\n")


def test_text_is_delivered_while_nothing_is_asked(board: CppBoard) -> None:
    lines: list[str] = []
    port = MemoryPort(board)
    device = connect(port, on_log=lines.append)
    board.log("fault at 0x1234\r\nresetting\r\n")
    port.send_up(board.take())
    device.session.listen(0.05)
    assert lines == ["fault at 0x1234", "resetting"]
