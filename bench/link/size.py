"""How many bytes an exchange takes on the wire, framing included, without building its frames.

Counts are those of a line without loss, and of COBS at its most: a code byte for each run of 254 bytes. Zeros only
shift code bytes, so a frame is never longer, and at most a few bytes shorter, than said here.
"""

from __future__ import annotations

from dataclasses import dataclass

from bench.link import messages

_OVERHEAD = 6 + 4 + 2  # header, CRC-32, delimiters


@dataclass(frozen=True)
class Wire:
    """Bytes to the board and from it."""

    down: int
    up: int

    def __add__(self, other: Wire) -> Wire:
        return Wire(self.down + other.down, self.up + other.up)

    @property
    def total(self) -> int:
        """Both ways."""
        return self.down + self.up


def frame_bytes(payload: int) -> int:
    """Of a frame on the wire, both delimiters included."""
    body = payload + _OVERHEAD - 2
    return body + 1 + (body - 1) // 254 + 2


def exchange(request: int, reply: int) -> Wire:
    """A request and its reply, by the bytes of their payloads."""
    return Wire(frame_bytes(request), frame_bytes(reply))


def write(size: int, chunk: int) -> Wire:
    """Sending `size` bytes to a board that takes `chunk` at once, as Device.write_params does."""
    step = chunk - messages.WRITE.size
    whole, rest = divmod(size, step)
    full, last = exchange(chunk, 0), exchange(rest + messages.WRITE.size, 0)
    return Wire(whole * full.down + (last.down if rest else 0), whole * full.up + (last.up if rest else 0))


def read(size: int, chunk: int) -> Wire:
    """Fetching `size` bytes, as Device.read_params does."""
    whole, rest = divmod(size, chunk)
    full, last = exchange(messages.READ.size, chunk), exchange(messages.READ.size, rest)
    return Wire(whole * full.down + (last.down if rest else 0), whole * full.up + (last.up if rest else 0))


def training_round(down: int, up: int, chunk: int) -> Wire:
    """All of a client's round: `down` bytes of model and `up` bytes of update, and the commands around them."""
    begin = exchange(messages.BEGIN.size, 0)
    train = exchange(messages.TRAIN.size, messages.RESULT_BYTES)
    return write(down, chunk) + begin + train + read(up, chunk)
