"""The link's frame: `0x00 | COBS(header | payload | CRC-32 of both) | 0x00`; `firmware/link/frame.hpp` is its twin.

What lies between delimiters and is not a frame is log text if it is printable, a corrupt frame otherwise. After any
garbage the next delimiter resynchronises.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass

VERSION = 1
FLAG_REPLY = 0x01
FLAG_ERROR = 0x02
MAX_PAYLOAD = 0xFFFF

_HEADER = struct.Struct("<BBHH")
_CRC = struct.Struct("<I")
_LONGEST_RUN = 254
_PRINTABLE = bytes(range(0x20, 0x7F)) + b"\t\n\r"


def cobs_encode(data: bytes) -> bytes:
    """Consistent Overhead Byte Stuffing: `data` without its zeros, at most 1 + len / 254 bytes longer."""
    out = bytearray()
    runs = data.split(b"\0")
    for index, run in enumerate(runs):
        at = 0
        while len(run) - at > _LONGEST_RUN:
            out.append(_LONGEST_RUN + 1)
            out += run[at : at + _LONGEST_RUN]
            at += _LONGEST_RUN
        rest = run[at:]
        out.append(len(rest) + 1)
        out += rest
        if len(rest) == _LONGEST_RUN and index < len(runs) - 1:
            out.append(1)  # a run of 254 stands for itself only: the zero behind it needs a run of its own
    return bytes(out)


def cobs_decode(data: bytes) -> bytes:
    """The inverse of `cobs_encode`. Raises ValueError for a zero inside, for nothing, and for a cut-off run."""
    if not data or 0 in data:
        raise ValueError("not COBS: empty, or a zero inside")
    out = bytearray()
    at = 0
    while True:
        code = data[at]
        run = data[at + 1 : at + code]
        if len(run) != code - 1:
            raise ValueError("not COBS: the last run is cut off")
        out += run
        at += code
        if at == len(data):
            return bytes(out)
        if code <= _LONGEST_RUN:
            out.append(0)


@dataclass(frozen=True)
class Frame:
    """One frame. `flags`: bit 0 reply, bit 1 error, bits 4-7 the session's tag."""

    type: int
    flags: int
    sequence: int
    payload: bytes = b""
    version: int = VERSION

    @property
    def tag(self) -> int:
        """The session's tag, 1-15; 0 in an announcement of a boot."""
        return self.flags >> 4

    @property
    def is_reply(self) -> bool:
        """Comes from the board."""
        return bool(self.flags & FLAG_REPLY)

    @property
    def is_error(self) -> bool:
        """Is a reply that refuses."""
        return bool(self.flags & FLAG_ERROR)

    def encode(self) -> bytes:
        """The frame's bytes on the wire, both delimiters included. Raises ValueError for a field out of range."""
        if not (0 <= self.type <= 0x3F and 0 <= self.version <= 3 and len(self.payload) <= MAX_PAYLOAD):
            raise ValueError(f"no frame has type {self.type}, version {self.version} and {len(self.payload)} bytes")
        try:
            header = _HEADER.pack(self.version << 6 | self.type, self.flags, self.sequence, len(self.payload))
        except struct.error as error:
            raise ValueError(f"no frame has flags {self.flags} and sequence {self.sequence}: {error}") from error
        body = header + self.payload
        return b"\0" + cobs_encode(body + _CRC.pack(zlib.crc32(body))) + b"\0"


def decode(segment: bytes) -> Frame | None:
    """The frame whose bytes lay between two delimiters, or None when they are not one."""
    try:
        body = cobs_decode(segment)
    except ValueError:
        return None
    if len(body) < _HEADER.size + _CRC.size:
        return None
    kind, flags, sequence, length = _HEADER.unpack_from(body)
    if len(body) != _HEADER.size + length + _CRC.size:
        return None
    (crc,) = _CRC.unpack_from(body, _HEADER.size + length)
    if zlib.crc32(body[: -_CRC.size]) != crc:
        return None
    return Frame(kind & 0x3F, flags, sequence, body[_HEADER.size : -_CRC.size], kind >> 6)


@dataclass(frozen=True)
class Received:
    """A whole frame. `wire_bytes`: all bytes since the last event that were not text, delimiters included."""

    frame: Frame
    wire_bytes: int


@dataclass(frozen=True)
class Corrupt:
    """Bytes that were neither a frame nor text."""

    wire_bytes: int


@dataclass(frozen=True)
class Text:
    """Log text between frames, as it came; `text_bytes` of it, none of which count as wire bytes."""

    text: str
    text_bytes: int


Event = Received | Corrupt | Text


class Parser:
    """Takes a stream of bytes apart in bounded memory. A frame of more than `max_payload` bytes is corrupt."""

    def __init__(self, max_payload: int = MAX_PAYLOAD) -> None:
        """See the class."""
        self._max_payload = max_payload
        size = _HEADER.size + max_payload + _CRC.size
        self._limit = size + 1 + size // _LONGEST_RUN
        self._segment = bytearray()  # since the last delimiter
        self._delimiters = 0  # that the next frame's wire bytes include
        self._overlong = 0  # bytes dropped of a segment behind the limit

    def feed(self, data: bytes) -> list[Event]:
        """Takes the next bytes and returns what they complete, in order."""
        events: list[Event] = []
        *ended, rest = data.split(b"\0")
        for part in ended:
            self._append(part)
            event = self._end_segment()
            if event is not None:
                events.append(event)
        self._append(rest)
        return events

    def take_text(self) -> Text | None:
        """Text that no delimiter has ended yet: to be asked for when the line is quiet.

        Only whole lines are given out, so that the printable beginning of a frame is not mistaken for text.
        """
        if self._overlong or not self._segment.endswith(b"\n") or not _is_text(self._segment):
            return None
        text = Text(self._segment.decode("ascii"), len(self._segment))
        self._segment.clear()
        return text

    def _append(self, part: bytes) -> None:
        self._segment += part
        excess = len(self._segment) - self._limit
        if excess > 0:
            del self._segment[self._limit :]
            self._overlong += excess

    def _end_segment(self) -> Event | None:
        self._delimiters += 1
        if not self._segment:
            return None
        segment, overlong = bytes(self._segment), self._overlong
        self._segment.clear()
        self._overlong = 0
        frame = None if overlong else decode(segment)
        if frame is not None and len(frame.payload) > self._max_payload:
            frame = None
        if frame is None and _is_text(segment):
            return Text(segment.decode("ascii"), len(segment) + overlong)
        wire_bytes = self._delimiters + len(segment) + overlong
        self._delimiters = 0
        return Corrupt(wire_bytes) if frame is None else Received(frame, wire_bytes)


def _is_text(segment: bytes | bytearray) -> bool:
    return not segment.translate(None, _PRINTABLE)
