"""Types and payloads of the link, as the table in docs/architecture.md lists them; all little-endian, no padding.

`firmware/link/messages.hpp` is the twin. Every `unpack` raises DeviceError for a payload of another length.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum, IntFlag
from typing import Self

from bench.errors import DeviceError

PROTOCOL = 1


class MessageType(IntEnum):
    """The low six bits of a frame's first byte."""

    HELLO = 1
    STATS = 2
    WRITE = 3
    READ = 4
    BEGIN = 5
    TRAIN = 6
    EVALUATE = 7
    STREAM = 8
    DATA = 9
    RESET = 10
    ENCODE = 11
    FETCH = 12
    LOAD = 13
    APPLY = 14


class ErrorCode(IntEnum):
    """Why a board refuses."""

    NO_SESSION = 1
    BAD_LENGTH = 2
    UNKNOWN_TYPE = 3
    OUT_OF_RANGE = 4
    DATA_ABSENT = 5
    DATA_CORRUPT = 6
    PARAMS_CORRUPT = 7
    DATA_MISMATCH = 8
    NOT_BEGUN = 9
    NOT_FEDERATED = 10
    UPDATE_MALFORMED = 11


REASONS = {
    ErrorCode.NO_SESSION: "it knows of no session: it has reset",
    ErrorCode.BAD_LENGTH: "the request has another length than its type asks for: firmware and bench differ",
    ErrorCode.UNKNOWN_TYPE: "its firmware does not know this request: flash the board",
    ErrorCode.OUT_OF_RANGE: "a value is out of range",
    ErrorCode.DATA_ABSENT: "its data partition is empty: flash its shard",
    ErrorCode.DATA_CORRUPT: "its data partition fails its checksum: flash its shard again",
    ErrorCode.PARAMS_CORRUPT: "the parameters on the board are not those that were sent: send them again",
    ErrorCode.DATA_MISMATCH: "its shard has another sample size or classes than the program: flash its shard",
    ErrorCode.NOT_FEDERATED: "its program keeps no client's state: build it with `federated`",
    ErrorCode.UPDATE_MALFORMED: "settings or a difference that its codec does not take: firmware and bench differ",
    ErrorCode.NOT_BEGUN: "no round has begun since it started: send parameters and BEGIN",
}


class Dtype(IntEnum):
    """Arithmetic of the training program."""

    INT8 = 0
    FLOAT32 = 1


class Capability(IntFlag):
    """What a board's firmware can do."""

    DATA = 1
    STREAM = 2
    FPU = 4
    FEDERATION = 8


class ResetCause(IntEnum):
    """Of the reset that led to this boot; `hal::ResetCause`."""

    UNKNOWN = 0
    POWER_ON = 1
    PIN = 2
    SOFTWARE = 3
    WATCHDOG = 4
    FAULT = 5


class ClockSource(IntEnum):
    """What the core runs from; `hal::ClockSource`."""

    RESET_DEFAULT = 0
    INTERNAL_PLL = 1
    CRYSTAL_PLL = 2
    CRYSTAL = 3


def _unpack(layout: struct.Struct, payload: bytes, what: str) -> tuple[int | bytes, ...]:
    if len(payload) != layout.size:
        raise DeviceError(
            f"a {what} has {len(payload)} bytes, not {layout.size}: firmware and bench differ, build and flash again"
        )
    return layout.unpack(payload)


_HELLO_REQUEST = struct.Struct("<BBHI")


@dataclass(frozen=True)
class HelloRequest:
    """Opens the session `tag` (1-15); the nonce tells this HELLO from all others."""

    tag: int
    nonce: int
    protocol: int = PROTOCOL

    def pack(self) -> bytes:
        """The payload."""
        return _HELLO_REQUEST.pack(self.protocol, self.tag, 0, self.nonce)

    @classmethod
    def unpack(cls, payload: bytes) -> Self:
        """The inverse of `pack`."""
        protocol, tag, _, nonce = _unpack(_HELLO_REQUEST, payload, "HELLO request")
        return cls(int(tag), int(nonce), int(protocol))


_HELLO = struct.Struct("<BBHI16sII8s24sHBBIIII12sIIII")


@dataclass(frozen=True)
class Hello:
    """What a board says of itself. Sizes in bytes, frequency in Hz; `fault_*` describe the last fault, when valid."""

    protocol: int
    dtype: int
    capabilities: int
    nonce: int
    build_id: bytes
    image_crc32: int  # computed by the board over its flash when it answered
    image_crc32_expected: int  # patched into the image by the builder
    plan_id: bytes
    env: str
    chunk_bytes: int
    reset_cause: int
    clock_source: int
    core_hz: int
    params_bytes: int
    down_bytes: int
    sample_bytes: int
    device_uid: bytes
    fault_pc: int
    fault_lr: int
    fault_cfsr: int
    fault_valid: int

    def pack(self) -> bytes:
        """The payload."""
        values = [getattr(self, name) for name in self.__dataclass_fields__]
        values[8] = self.env.encode("ascii")
        return _HELLO.pack(*values)

    @classmethod
    def unpack(cls, payload: bytes) -> Self:
        """The inverse of `pack`."""
        values = list(_unpack(_HELLO, payload, "HELLO reply"))
        env = values[8]
        assert isinstance(env, bytes)
        return cls(*values[:8], env.rstrip(b"\0").decode("ascii", "replace"), *values[9:])  # type: ignore[call-arg, arg-type]

    def problems(
        self,
        *,
        env: str | None = None,
        plan_id: bytes | None = None,
        build_id: bytes | None = None,
        params_bytes: int | None = None,
    ) -> list[str]:
        """Why this board must not be used for what is asked of it: one sentence a reason; empty when it may."""
        found = []
        if self.protocol != PROTOCOL:
            found.append(f"it speaks link protocol {self.protocol}, this bench {PROTOCOL}: build and flash again")
        if self.image_crc32 != self.image_crc32_expected:
            found.append(
                f"its image is corrupt (CRC-32 {self.image_crc32:08x}, built as "
                f"{self.image_crc32_expected:08x}): flash it"
            )
        if env is not None and env != self.env:
            found.append(f"its image is for {self.env!r}, not {env!r}: flash the image of its own environment")
        if plan_id is not None and plan_id != self.plan_id:
            found.append(f"its plan is {self.plan_id.hex()}, not {plan_id.hex()}: flash the program that is to train")
        if build_id is not None and build_id != self.build_id:
            found.append(f"its build is {self.build_id.hex()}, not {build_id.hex()}: flash it")
        if params_bytes is not None and params_bytes != self.params_bytes:
            found.append(f"its program has {self.params_bytes} bytes of parameters, not {params_bytes}: flash it")
        return found


_STATS = struct.Struct("<14IQ")


@dataclass(frozen=True)
class Stats:
    """A board's counters since HELLO, and its memory, in bytes. `rx` is host to board; frames and `rx_corrupt` are
    numbers of frames. Snapshot with the STATS request counted and its reply not."""

    wire_rx: int
    wire_tx: int
    frames_rx: int
    frames_tx: int
    rx_repeated: int
    tx_repeated: int
    rx_corrupt: int
    overruns: int
    log_tx: int
    sram_static: int
    sram_arena: int
    sram_federation: int
    stack_reserved: int
    stack_high_water: int
    uptime_cycles: int

    def pack(self) -> bytes:
        """The payload."""
        return _STATS.pack(*(getattr(self, name) for name in self.__dataclass_fields__))

    @classmethod
    def unpack(cls, payload: bytes) -> Self:
        """The inverse of `pack`."""
        return cls(*(int(value) for value in _unpack(_STATS, payload, "STATS reply")))


_RESULT = struct.Struct("<IIQIIQ")
RESULT_BYTES = _RESULT.size


@dataclass(frozen=True)
class TrainResult:
    """Of TRAIN, EVALUATE and STREAM. `loss_q16`: cross-entropy in nats, summed over the samples, Q48.16."""

    samples: int
    correct: int
    loss_q16: int
    saturated: int
    cycles: int

    @property
    def loss(self) -> float:
        """Mean cross-entropy in nats; nan without samples."""
        return self.loss_q16 / 65536 / self.samples if self.samples else float("nan")

    @property
    def accuracy(self) -> float:
        """Share of samples predicted right before each one's own step; nan without samples."""
        return self.correct / self.samples if self.samples else float("nan")

    def pack(self) -> bytes:
        """The payload."""
        return _RESULT.pack(self.samples, self.correct, self.loss_q16, self.saturated, 0, self.cycles)

    @classmethod
    def unpack(cls, payload: bytes) -> Self:
        """The inverse of `pack`."""
        samples, correct, loss, saturated, _, cycles = (int(v) for v in _unpack(_RESULT, payload, "training result"))
        return cls(samples, correct, loss, saturated, cycles)

    def __add__(self, other: TrainResult) -> TrainResult:
        """The result of both, one after the other."""
        return TrainResult(
            self.samples + other.samples,
            self.correct + other.correct,
            self.loss_q16 + other.loss_q16,
            self.saturated + other.saturated,
            self.cycles + other.cycles,
        )


_DATA = struct.Struct("<BBHIIIII16s")


@dataclass(frozen=True)
class CodedUpdate:
    """What ENCODE replies: bytes of the update, their CRC-32, and how many values were clipped."""

    size: int
    crc32: int
    clipped: int

    @classmethod
    def unpack(cls, payload: bytes) -> Self:
        """Of a payload."""
        return cls(*(int(value) for value in _unpack(ENCODED, payload, "coded update")))


@dataclass(frozen=True)
class DataInfo:
    """A board's data partition. `capacity`: bytes; `count`: records; the rest is zero unless `present`."""

    present: bool
    crc_ok: bool
    count: int
    sample_bytes: int
    classes: int
    crc32: int
    capacity: int
    shard_id: bytes

    def pack(self) -> bytes:
        """The payload."""
        head = (self.present, self.crc_ok, 0, self.count, self.sample_bytes, self.classes, self.crc32, self.capacity)
        return _DATA.pack(*head, self.shard_id)

    @classmethod
    def unpack(cls, payload: bytes) -> Self:
        """The inverse of `pack`."""
        *numbers, shard_id = _unpack(_DATA, payload, "DATA reply")
        present, crc_ok, _, count, sample_bytes, classes, crc32, capacity = (int(number) for number in numbers)
        return cls(bool(present), bool(crc_ok), count, sample_bytes, classes, crc32, capacity, bytes(shard_id))


_ERROR = struct.Struct("<B3xI")


@dataclass(frozen=True)
class ErrorReply:
    """Why the board refuses; the meaning of `detail` is the request's: an expected length, an offset, a CRC."""

    code: int
    detail: int

    def pack(self) -> bytes:
        """The payload."""
        return _ERROR.pack(self.code, self.detail)

    @classmethod
    def unpack(cls, payload: bytes) -> Self:
        """The inverse of `pack`."""
        code, detail = (int(value) for value in _unpack(_ERROR, payload, "error reply"))
        return cls(code, detail)


WRITE = struct.Struct("<I")  # offset; then the bytes
READ = struct.Struct("<IH")  # offset, length
BEGIN = struct.Struct("<II")  # round, CRC-32 of the parameters that were sent down
TRAIN = struct.Struct("<IIII")  # first, count, learning rate Q16.16, seed
EVALUATE = struct.Struct("<II")  # first, count
STREAM = struct.Struct("<IIHH")  # learning rate Q16.16, seed, count, 0; then the records
ENCODE = struct.Struct("<BBH")  # bits, flags: 1 entropy, 2 error feedback, 4 forget it first; keep of 256
ENCODED = struct.Struct("<III")  # of the update: bytes, CRC-32; values that were clipped
FETCH = READ  # from the exchange buffer
LOAD = WRITE  # to it
APPLY = struct.Struct("<III")  # round; bytes of the difference; CRC-32 of the parameters that come of it
STATS = struct.Struct("<B")  # repaint
