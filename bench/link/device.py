"""A board as a set of typed calls over its session."""

from __future__ import annotations

import struct
import threading
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from bench.errors import ConfigError, DeviceError
from bench.link import messages
from bench.link.counters import CounterCheck, Counters, compare
from bench.link.messages import CodedUpdate, DataInfo, Hello, MessageType, Stats, TrainResult
from bench.link.session import Session

FEEDBACK_AT = (
    1 << 31
)  # FETCH and LOAD from here on: the error feedback, not the exchange buffer (firmware/src/exchange.cpp)

Progress = Callable[[int, int], None]  # bytes or samples done, of how many

_COUNTER_TRIES = 5
_LEAST_CHUNK_BYTES = 128  # firmware/link/frame.hpp


class Device:
    """One board. Errors are those of `Session.request`; a request that fails leaves the board as it was before it, or
    as it is after it, never between: bulk transfers, being several requests, may stop between two."""

    def __init__(self, session: Session) -> None:
        """Takes the session over, open or not."""
        self.session = session
        self._hello: Hello | None = None

    @property
    def name(self) -> str:
        """The port's name."""
        return self.session.name

    @property
    def counters(self) -> Counters:
        """What the host has counted since HELLO."""
        return self.session.counters

    @property
    def info(self) -> Hello:
        """What the board said in the last `hello()`. Raises DeviceError before the first."""
        if self._hello is None:
            raise DeviceError(f"{self.name}: nothing is known of this board: say hello first")
        return self._hello

    def hello(
        self,
        *,
        env: str | None = None,
        plan_id: bytes | None = None,
        build_id: bytes | None = None,
        params_bytes: int | None = None,
        check: bool = True,
        timeout_s: float | None = None,
        retries: int | None = None,
    ) -> Hello:
        """Opens a session. With `check`, raises DeviceError, naming all reasons, when the board must not be used: its
        protocol is another, its image is corrupt, or it is not what is asked for by the other arguments."""
        hello = self.session.hello(timeout_s=timeout_s, retries=retries)
        if hello.chunk_bytes < _LEAST_CHUNK_BYTES:
            raise DeviceError(f"{self.name}: its chunk of {hello.chunk_bytes} bytes is too small: flash it")
        problems = hello.problems(env=env, plan_id=plan_id, build_id=build_id, params_bytes=params_bytes)
        if check and problems:
            raise DeviceError(f"{self.name}: this board cannot be used: " + "; ".join(problems))
        self._hello = hello
        return hello

    def stats(self, repaint: bool = False) -> Stats:
        """Counters and memory. `repaint` paints the free stack again after its high-water mark was taken."""
        return Stats.unpack(self.session.request(MessageType.STATS, messages.STATS.pack(repaint)))

    def check_counters(self, repaint: bool = False) -> CounterCheck:
        """Counters of both ends at one moment, compared; `repaint` as for `stats`.

        A STATS that had to be sent again says nothing of one moment, so another one is asked for. Raises DeviceError
        when the line is so bad that none of 5 gets through at once.
        """
        for _ in range(_COUNTER_TRIES):
            before = self.session.counters.snapshot()
            board = self.stats(repaint)
            host = self.session.counters.snapshot()
            sends, reply_bytes = self.session.last_exchange
            if sends > 1:
                self.session.counters.make_void(before)
                continue
            host.wire_up -= reply_bytes  # the board had not sent it when it took its snapshot
            host.frames_up -= 1
            return compare(host, board)
        raise DeviceError(f"{self.name}: no STATS of {_COUNTER_TRIES} got through at once: check cable and baud rate")

    def write_params(self, data: bytes, offset: int = 0, *, progress: Progress | None = None) -> None:
        """Writes `data` to the parameters at `offset`, in chunks."""
        self._write(MessageType.WRITE, messages.WRITE, offset, data, progress)

    def _write(
        self, kind: MessageType, head: struct.Struct, offset: int, data: bytes, progress: Progress | None
    ) -> None:
        step = self.info.chunk_bytes - head.size
        parts = [data[at : at + step] for at in range(0, len(data), step)]
        payloads = [head.pack(offset + number * step) + part for number, part in enumerate(parts)]
        tell = _telling(progress, step, len(data))
        self.session.request_each(kind, payloads, on_reply=tell)

    def read_params(self, offset: int = 0, length: int | None = None, *, progress: Progress | None = None) -> bytes:
        """Reads `length` bytes of the parameters from `offset`; all behind it by default."""
        total = self.info.params_bytes - offset if length is None else length
        return self._read(MessageType.READ, offset, total, progress)

    def _read(self, kind: MessageType, offset: int, total: int, progress: Progress | None) -> bytes:
        most = self.info.chunk_bytes
        sizes = [min(most, total - at) for at in range(0, total, most)]
        payloads = [messages.READ.pack(offset + number * most, size) for number, size in enumerate(sizes)]
        tell = _telling(progress, most, total)
        replies = self.session.request_each(kind, payloads, on_reply=tell)
        for size, part in zip(sizes, replies, strict=True):
            if len(part) != size:
                raise DeviceError(f"{self.name}: {kind.name} of {size} bytes gave {len(part)}: build and flash again")
        return b"".join(replies)

    def begin(self, round_number: int, down: bytes) -> None:
        """Begins a round on the parameters `down` that were written: the board checks them by their CRC-32 and resets
        the residuals. Raises Refused with PARAMS_CORRUPT when it holds others."""
        self.session.request(MessageType.BEGIN, messages.BEGIN.pack(round_number, zlib.crc32(down)))

    def send_round(self, round_number: int, down: bytes, *, progress: Progress | None = None) -> None:
        """Writes a round's parameters and begins it."""
        self.write_params(down, progress=progress)
        self.begin(round_number, down)

    def encode_update(
        self, bits: int, keep: int = 256, *, entropy: bool = True, error_feedback: bool = True, forget: bool = False
    ) -> CodedUpdate:
        """Has the board code what training has moved since the round began; `fetch_update` then reads it.

        Training overwrites it. `forget`: drop the error feedback first, as what it belongs to was lost.

        Raises:
            Refused: with NOT_FEDERATED for a program without a client's state, NOT_BEGUN before a round.
        """
        flags = entropy * 1 | error_feedback * 2 | forget * 4
        reply = self.session.request(MessageType.ENCODE, messages.ENCODE.pack(bits, flags, keep))
        return CodedUpdate.unpack(reply)

    def fetch_update(self, update: CodedUpdate, *, progress: Progress | None = None) -> bytes:
        """Reads what `encode_update` has made. Raises DeviceError when its checksum does not hold."""
        blob = self._read(MessageType.FETCH, 0, update.size, progress)
        if zlib.crc32(blob) != update.crc32:
            raise DeviceError(f"{self.name}: the coded update changed while it was read: train again")
        return blob

    def read_feedback(self, size: int) -> bytes:
        """The error feedback of a federated client, `size` bytes as they lie in its memory."""
        return self._read(MessageType.FETCH, FEEDBACK_AT, size, None)

    def write_feedback(self, feedback: bytes) -> None:
        """Brings back what `read_feedback` gave."""
        self._write(MessageType.LOAD, messages.LOAD, FEEDBACK_AT, feedback, None)

    def send_difference(
        self, round_number: int, difference: bytes, down: bytes, *, progress: Progress | None = None
    ) -> None:
        """Begins a round on the parameters `down`, of which the board has an earlier version.

        Args:
            round_number: of the round.
            difference: between the two (bench/federation/download_codec.py).
            down: all of the new one, for its checksum.
            progress: called with bytes done and bytes in all.

        Raises:
            Refused: with PARAMS_CORRUPT where the board had another version: `send_round` then mends it.
        """
        self._write(MessageType.LOAD, messages.LOAD, 0, difference, progress)
        self.session.request(MessageType.APPLY, messages.APPLY.pack(round_number, len(difference), zlib.crc32(down)))

    def train(
        self, first: int, count: int, learning_rate: float, seed: int, timeout_s: float | None = None
    ) -> TrainResult:
        """Trains on `count` samples of the board's own partition, from `first`, wrapping at its end.

        `timeout_s` is for all of it. No retransmission comes before it is over, so it also bounds how soon a lost
        request is noticed.
        """
        payload = messages.TRAIN.pack(first, count, learning_rate_q16(learning_rate), seed & 0xFFFFFFFF)
        return TrainResult.unpack(self.session.request(MessageType.TRAIN, payload, timeout_s=timeout_s))

    def evaluate(self, first: int, count: int, timeout_s: float | None = None) -> TrainResult:
        """Infers `count` samples of the board's own partition from `first`; nothing is trained."""
        payload = messages.EVALUATE.pack(first, count)
        return TrainResult.unpack(self.session.request(MessageType.EVALUATE, payload, timeout_s=timeout_s))

    def stream(
        self,
        records: bytes,
        learning_rate: float,
        seed: int,
        timeout_s: float | None = None,
        *,
        progress: Progress | None = None,
    ) -> TrainResult:
        """Trains on `records` sent along, each a label u8 and `sample_bytes` of features; `timeout_s` is for a chunk.

        The result is the same as TRAIN's on these records: the seed of sample i is `seed + i`. Raises ConfigError for
        records of another size, or too large for a chunk.
        """
        size = 1 + self.info.sample_bytes
        per_chunk = (self.info.chunk_bytes - messages.STREAM.size) // size
        if len(records) % size or per_chunk == 0:
            raise ConfigError(
                f"{self.name}: {len(records)} bytes of records: they must be a multiple of {size} bytes "
                f"and one must fit into a chunk of {self.info.chunk_bytes}"
            )
        total = len(records) // size
        result = TrainResult(0, 0, 0, 0, 0)
        rate = learning_rate_q16(learning_rate)
        for done in range(0, total, per_chunk):
            count = min(per_chunk, total - done)
            head = messages.STREAM.pack(rate, (seed + done) & 0xFFFFFFFF, count, 0)
            payload = head + records[done * size : (done + count) * size]
            result += TrainResult.unpack(self.session.request(MessageType.STREAM, payload, timeout_s=timeout_s))
            if progress is not None:
                progress(done + count, total)
        return result

    def data_info(self, timeout_s: float | None = None) -> DataInfo:
        """The board's data partition; it computes the checksum over all of it."""
        return DataInfo.unpack(self.session.request(MessageType.DATA, timeout_s=timeout_s))

    def reset(self) -> None:
        """Has the board reset itself; `hello()` must follow."""
        self.session.request(MessageType.RESET)

    @contextmanager
    def cancellable(self, event: threading.Event) -> Iterator[None]:
        """While it lasts, `event` ends every wait within 0.1 s, with Cancelled."""
        before = self.session.cancelled
        self.session.cancelled = event
        try:
            yield
        finally:
            self.session.cancelled = before

    def close(self) -> None:
        """Closes session and port."""
        self.session.close()


def _telling(progress: Progress | None, step: int, total: int) -> Callable[[int], None]:
    """What tells the progress of a transfer in chunks of `step` bytes."""
    if progress is None:
        return lambda _index: None
    return lambda index: progress(min((index + 1) * step, total), total)


def learning_rate_q16(learning_rate: float) -> int:
    """A learning rate as unsigned Q16.16. Raises ConfigError when it is not one: 0, negative, or over 65535."""
    fixed = round(learning_rate * 65536) if 0 < learning_rate < 65536 else 0
    if not 0 < fixed < 1 << 32:
        raise ConfigError(f"learning rate {learning_rate} is not between 2^-17 and 65536")
    return fixed
