"""The host's side of a session: each request executed once, whatever the line does to the bytes. Stop-and-wait, but
for bulk transfers, of which the next request is on its way while one is answered.

The board (`firmware/link/session.hpp`) executes a request whose sequence number follows the last one, and answers a
repeated one from its cache. So a request that times out is sent again as it was. What can go wrong, and the answer:

* A reply is lost, or late: the repetition is answered from the cache. A late first reply is accepted; the second one
  is then a stray, told by its sequence number, and is ignored.
* The host restarts: its HELLO has a new nonce. Replies to the process before it carry no HELLO with that nonce, and
  they arrive before the reply that does, so nothing of theirs is taken for ours.
* HELLOs cross: repetitions of one HELLO have one nonce, and the board ignores them once a request has followed.
* The board resets: it announces its boot, or answers NO_SESSION: `BoardReset`. Whether the request was executed is
  unknown, and its memory is lost anyway.
* Sequence and tag start at fixed values, so that two runs put the same bytes on the wire: COBS adds a byte more or
  less depending on where zeros lie. Only the nonce, in HELLO, which is not counted, is random.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Self

from bench.errors import BenchError, DeviceError, InfrastructureError
from bench.link.counters import Counters
from bench.link.frame import FLAG_REPLY, VERSION, Corrupt, Event, Frame, Parser, Received, Text
from bench.link.messages import REASONS, ErrorCode, ErrorReply, Hello, HelloRequest, MessageType
from bench.link.port import BytePort

_SLICE_S = 0.1  # how late a cancellation may be noticed
WINDOW = 2
"""Requests on their way at once: one that the line carries while the board answers the other keeps the line busy.

The board's receive ring has to hold what comes meanwhile: some 40 bytes on the slowest core at 115200 baud, for the
checksum of a frame and an empty reply; the least ring has 256 (firmware/hal/nrf51/hal.cpp).
"""

_WITHOUT_REPLY = (MessageType.WRITE, MessageType.LOAD)
_BITS_PER_BYTE = 10  # 8 data bits, start and stop


class BoardReset(DeviceError):  # noqa: N818
    """The board has reset since HELLO: say hello again. Whether the last request was executed is not known."""


class BoardSilent(InfrastructureError):  # noqa: N818
    """No reply, however often the request was sent."""


class Refused(DeviceError):  # noqa: N818
    """The board answered with an error; `code` and `detail` are its own."""

    def __init__(self, message: str, code: int, detail: int) -> None:
        """See the class."""
        super().__init__(message)
        self.code = code
        self.detail = detail


class Cancelled(BenchError):  # noqa: N818
    """The wait was given up because the caller's event was set; the board may still be executing the request."""


class Session:
    """One board's session over one port. Only `close()` may be called while another thread is in a request.

    `timeout_s` is how long a board may take to answer, beyond the time that the bytes spend on the line; a request is
    sent `1 + retries` times. `on_log` gets each line of the board's log text. `cancelled`, when set, ends every wait
    within 0.1 s. `entropy(n)` gives n bytes for nonces: two sessions with a board must not use the same ones.
    """

    def __init__(
        self,
        port: BytePort,
        *,
        timeout_s: float = 1.0,
        retries: int = 5,
        on_log: Callable[[str], None] | None = None,
        cancelled: threading.Event | None = None,
        entropy: Callable[[int], bytes] = secrets.token_bytes,
        first_tag: int = 1,
        first_sequence: int = 0,
    ) -> None:
        """See the class."""
        self.timeout_s = timeout_s
        self.retries = retries
        self.cancelled = cancelled
        self.counters = Counters()  # since HELLO
        self._past = Counters()  # of the sessions before
        self._port = port
        self._on_log = on_log
        self._entropy = entropy
        self._tag = (first_tag - 2) % 15 + 1  # the next HELLO takes the one behind it
        self._sequence = first_sequence
        self._open = False
        self._busy = threading.Lock()
        self._parser = Parser()
        self._events: deque[Event] = deque()
        self._chunk_bytes = 0  # not known before HELLO
        self._foreign_version: int | None = None
        self._last_sends = 0
        self._last_reply_bytes = 0

    @property
    def name(self) -> str:
        """The port's name."""
        return self._port.name

    @property
    def is_open(self) -> bool:
        """Whether requests can be made: after `hello()`, until a failure or RESET."""
        return self._open

    @property
    def totals(self) -> Counters:
        """Counters over all sessions on this port: they never go back to zero."""
        return self._past + self.counters

    @property
    def last_exchange(self) -> tuple[int, int]:
        """Of the last request: how often it was sent, and the wire bytes of the reply that was accepted."""
        return self._last_sends, self._last_reply_bytes

    def hello(self, *, timeout_s: float | None = None, retries: int | None = None) -> Hello:
        """Opens a session, ending any before it, and returns what the board says of itself.

        Raises BoardSilent, DeviceError for a board of another link version, Cancelled. Both ends' counters are zero
        afterwards.
        """
        with self._busy:
            self._open = False
            self._tag = self._tag % 15 + 1
            request = HelloRequest(self._tag, int.from_bytes(self._entropy(4), "little"))
            frame = self._next_frame(MessageType.HELLO, request.pack())
            reply = self._exchange(frame, timeout_s, retries)
            if reply.is_error:
                raise self._refused(reply)
            hello = Hello.unpack(reply.payload)
            self._past += self.counters
            self.counters = Counters()
            self._chunk_bytes = hello.chunk_bytes
            self._open = True
            return hello

    def request(
        self,
        kind: MessageType,
        payload: bytes = b"",
        *,
        timeout_s: float | None = None,
        retries: int | None = None,
    ) -> bytes:
        """Has one request executed once and returns its reply's payload.

        Raises Refused, BoardReset, BoardSilent, Cancelled, and InfrastructureError when the port is gone or no session
        is open. After any of these but Refused the session is closed: only `hello()` can follow.
        """
        with self._busy:
            if not self._open:
                raise InfrastructureError(f"{self.name}: no session is open: say hello to the board first")
            frame = self._next_frame(kind, payload)
            self._open = False  # unless it ends well
            reply = self._exchange(frame, timeout_s, retries)
            if reply.is_error:
                refused = self._refused(reply)
                if refused.code == ErrorCode.NO_SESSION:
                    if kind == MessageType.RESET:  # executed, and only its reply was lost
                        return b""
                    raise self._has_reset(kind)
                self._open = True
                raise refused
            self._open = kind != MessageType.RESET
            self.counters.payload_down += len(payload)
            self.counters.payload_up += len(reply.payload)
            return reply.payload

    def request_each(
        self,
        kind: MessageType,
        payloads: Sequence[bytes],
        *,
        window: int = WINDOW,
        timeout_s: float | None = None,
        on_reply: Callable[[int], None] = lambda _index: None,
    ) -> list[bytes]:
        """Has several requests of one kind executed, in order, and returns the payloads of their replies.

        Up to `window` of them are on their way at once, so that the line does not rest while a reply comes back. The
        board executes them in order or not at all, so that an answer says of those before it that they were executed
        too. What is not answered is sent again, all of it, in order (go-back-N). Where a reply alone is lost, the
        board has only the last one to repeat: an empty one is not missed; otherwise the request is made again as a new
        one. So these are to be requests that may be made twice, and if one is refused, all behind it must be.

        `on_reply` is called with the index of each request that is done, in order. Raises as `request`, Refused once
        nothing is on its way any more.
        """
        with self._busy:
            if not self._open:
                raise InfrastructureError(f"{self.name}: no session is open: say hello to the board first")
            self._open = False  # unless it ends well
            bulk = _Bulk(kind, payloads, on_reply)
            self._through_window(bulk, window, timeout_s)
            self._open = True
            if bulk.refusal is not None:
                raise self._refused(bulk.refusal)
            return [bulk.replies[index] for index in range(len(payloads))]

    def _through_window(self, bulk: _Bulk, window: int, timeout_s: float | None) -> None:
        attempts = 0
        while bulk.in_flight or bulk.waiting:
            while bulk.waiting and len(bulk.in_flight) < window:
                index = bulk.waiting.popleft()
                frame = self._next_frame(bulk.kind, bulk.payloads[index])
                bulk.in_flight.append((index, frame))
                self._send(frame, frame.encode(), again=index in bulk.lost)
            frames = [frame for _, frame in bulk.in_flight]
            patience = self.timeout_s if timeout_s is None else timeout_s
            patience += sum(self._line_time_s(len(frame.payload) + 16) for frame in frames)
            reply = self._await_any(frames, time.monotonic() + patience)
            if reply is not None:
                attempts = 0
                self._account(bulk, reply)
                continue
            attempts += 1
            if attempts > self.retries:
                raise self._silence(frames[0], attempts, patience)
            for frame in frames:
                self._send(frame, frame.encode(), again=True)

    def _account(self, bulk: _Bulk, reply: Frame) -> None:
        """Takes a reply, which may be that of a later request than the first on its way."""
        if reply.is_error and ErrorReply.unpack(reply.payload).code == ErrorCode.NO_SESSION:
            raise self._has_reset(bulk.kind)
        own = False
        while not own:
            index, frame = bulk.in_flight.popleft()
            own = frame.sequence == reply.sequence
            if own and reply.is_error:
                bulk.refuse(reply)
            elif own or bulk.kind in _WITHOUT_REPLY:
                self.counters.payload_down += len(frame.payload)
                self.counters.payload_up += len(reply.payload) if own else 0
                self.counters.missed_up += 0 if own else _empty_reply_bytes(frame)
                bulk.done(index, reply.payload if own else b"")
            else:
                bulk.ask_again(index)

    def listen(self, duration_s: float) -> None:
        """Gives log text to `on_log` for a while; returns early when cancelled."""
        with self._busy:
            deadline = time.monotonic() + duration_s
            while (left := deadline - time.monotonic()) > 0 and not self._is_cancelled():
                self._pump(min(left, _SLICE_S))
                while self._events:
                    self._take(self._events.popleft(), ())
            self._flush_text()

    def close(self) -> None:
        """Closes the port; a request that another thread waits for ends with InfrastructureError."""
        self._port.close()

    def __enter__(self) -> Self:
        """Itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Closes it."""
        self.close()

    def _next_frame(self, kind: MessageType, payload: bytes) -> Frame:
        frame = Frame(kind, self._tag << 4, self._sequence, payload)
        self._sequence = (self._sequence + 1) & 0xFFFF
        return frame

    def _exchange(self, frame: Frame, timeout_s: float | None, retries: int | None) -> Frame:
        wire = frame.encode()
        patience = self.timeout_s if timeout_s is None else timeout_s
        patience += self._line_time_s(len(wire))
        sends = 1 + (self.retries if retries is None else retries)
        for attempt in range(sends):
            self._last_sends = attempt + 1
            self._send(frame, wire, again=attempt > 0)
            reply = self._await_any([frame], time.monotonic() + patience)
            if reply is not None:
                return reply
        if frame.type == MessageType.HELLO and self._foreign_version is not None:
            raise DeviceError(
                f"{self.name}: the board speaks link version {self._foreign_version}, this bench {VERSION}: flash it"
            )
        raise self._silence(frame, sends, patience)

    def _silence(self, frame: Frame, sends: int, patience_s: float) -> BoardSilent:
        return BoardSilent(
            f"{self.name}: no reply to {_type_name(frame.type)} (sequence {frame.sequence}), sent {sends} times, "
            f"{patience_s:.1f} s each: check power, cable and baud rate ({self._port.baud}), or reset the board"
        )

    def _line_time_s(self, request_bytes: int) -> float:
        """The longest that request and reply can spend on the line; 1 KB takes 90 ms at 115200 baud, 1.1 s at 9600."""
        return (request_bytes + max(self._chunk_bytes, 128) + 32) * _BITS_PER_BYTE / self._port.baud

    def _send(self, frame: Frame, wire: bytes, *, again: bool) -> None:
        self._check_cancelled(frame)
        self._port.write(wire)
        if frame.type == MessageType.HELLO:
            return
        self.counters.frames_down += 1
        self.counters.wire_down += len(wire)
        if again:
            self.counters.retransmitted_down += len(wire)

    def _await_any(self, frames: Sequence[Frame], deadline: float) -> Frame | None:
        """The first reply to any of the requests."""
        while True:
            while self._events:
                reply = self._take(self._events.popleft(), frames)
                if reply is not None:
                    return reply
            left = deadline - time.monotonic()
            if left <= 0:
                return None
            self._check_cancelled(frames[0])
            self._pump(min(left, _SLICE_S))

    def _pump(self, timeout_s: float) -> None:
        data = self._port.read(timeout_s)
        if data:
            self._events.extend(self._parser.feed(data))
        else:
            self._flush_text()

    def _take(self, event: Event, awaited: Sequence[Frame]) -> Frame | None:
        """Counts an event; returns the frame when it is the reply to an awaited request."""
        if isinstance(event, Text):
            self._log(event)
            return None
        if isinstance(event, Corrupt):
            self.counters.corrupt += 1
            self.counters.wire_up += event.wire_bytes
            self.counters.retransmitted_up += event.wire_bytes
            return None
        if event.frame.type == MessageType.HELLO and event.frame.version == VERSION:
            return self._take_hello(event, awaited[0] if awaited else None)
        self.counters.frames_up += 1
        self.counters.wire_up += event.wire_bytes
        if any(_answers(event.frame, request) for request in awaited):
            self._last_reply_bytes = event.wire_bytes
            # A delimiter that noise has made or taken is no part of the reply.
            self.counters.retransmitted_up += event.wire_bytes - len(event.frame.encode())
            return event.frame
        self.counters.retransmitted_up += event.wire_bytes
        if event.frame.version != VERSION:
            self._foreign_version = event.frame.version
        return None

    def _take_hello(self, event: Received, awaited: Frame | None) -> Frame | None:
        """HELLOs are not counted, for the counters start with them, and the board repeats one as it is asked."""
        frame = event.frame
        if awaited is None or not frame.is_reply:
            return None
        if awaited.type != MessageType.HELLO:
            if frame.is_error and frame.tag == 0:  # the announcement of a boot
                raise self._has_reset(awaited.type)
            return None
        if not _answers(frame, awaited):
            return None
        if frame.is_error or frame.payload[4:8] == awaited.payload[4:8]:  # the nonce
            self._last_reply_bytes = event.wire_bytes
            return frame
        return None

    def _log(self, text: Text) -> None:
        self.counters.log += text.text_bytes
        if self._on_log is not None:
            for line in text.text.splitlines():
                if line.strip():
                    self._on_log(line)

    def _flush_text(self) -> None:
        text = self._parser.take_text()
        if text is not None:
            self._log(text)

    def _is_cancelled(self) -> bool:
        return self.cancelled is not None and self.cancelled.is_set()

    def _check_cancelled(self, frame: Frame) -> None:
        if self._is_cancelled():
            raise Cancelled(f"{self.name}: gave up waiting for {_type_name(frame.type)}: cancelled")

    def _has_reset(self, kind: int) -> BoardReset:
        return BoardReset(f"{self.name}: the board has reset before it answered {_type_name(kind)}: say hello again")

    def _refused(self, reply: Frame) -> Refused:
        error = ErrorReply.unpack(reply.payload)
        try:
            reason = f"{ErrorCode(error.code).name}: {REASONS[ErrorCode(error.code)]}"
        except ValueError:
            reason = f"error {error.code}, which this bench does not know"
        return Refused(
            f"{self.name}: the board refuses {_type_name(reply.type)}: {reason} (detail {error.detail})",
            error.code,
            error.detail,
        )


class _Bulk:
    """Requests of one kind: indices of those that wait, (index, frame) of those on their way, replies."""

    def __init__(self, kind: MessageType, payloads: Sequence[bytes], on_reply: Callable[[int], None]) -> None:
        self.kind = kind
        self.payloads = payloads
        self.waiting = deque(range(len(payloads)))
        self.in_flight: deque[tuple[int, Frame]] = deque()
        self.replies: dict[int, bytes] = {}
        self.lost: set[int] = set()  # whose replies were
        self.refusal: Frame | None = None
        self._on_reply = on_reply
        self._told = 0

    def done(self, index: int, reply: bytes) -> None:
        """Keeps a reply, and tells of all that are done in order."""
        self.replies[index] = reply
        while self._told in self.replies:
            self._on_reply(self._told)
            self._told += 1

    def ask_again(self, index: int) -> None:
        """Its reply is lost for good: it is made again, as a new request."""
        if self.refusal is None:
            self.lost.add(index)
            self.waiting.appendleft(index)

    def refuse(self, reply: Frame) -> None:
        """No further ones are sent; those on their way are waited for, so that both ends agree on the sequence."""
        self.refusal = self.refusal or reply
        self.waiting.clear()


def _answers(reply: Frame, request: Frame) -> bool:
    return (
        reply.is_reply
        and reply.version == VERSION
        and (reply.type, reply.tag, reply.sequence) == (request.type, request.tag, request.sequence)
    )


def _empty_reply_bytes(request: Frame) -> int:
    return len(Frame(request.type, request.flags | FLAG_REPLY, request.sequence).encode())


def _type_name(kind: int) -> str:
    return next((known.name for known in MessageType if known == kind), f"request {kind}")
