"""Streams of bit fields, whole arrays at a time: the same as firmware/federation/bits.hpp.

The first bit of a stream is the lowest of its first byte; a field's lowest bit comes first; what is left of the last
byte is zero.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Integers = NDArray[np.int64]
Flags = NDArray[np.bool_]

WIDEST = 32
"""Bits of a field."""

_SPILL = 8
"""Bytes behind a stream from which a field that begins at its end can be read."""


@dataclass
class BitWriter:
    """Fields that lie at known places of a stream and do not overlap; bits in none are zero."""

    _placed: list[tuple[Integers, Integers, int]] = field(default_factory=list)

    def put(self, positions: Integers, values: Integers, width: int) -> None:
        """Puts values, 0 <= value < 2^width, at these bits of the stream."""
        if len(positions):
            self._placed.append((positions, values, width))

    def pack(self, bits: int) -> bytes:
        """The stream, of so many bits."""
        size = -(-bits // 8)
        total = np.zeros(size + _SPILL)
        for positions, values, width in self._placed:
            first, shifted = positions >> 3, values << (positions & 7)
            for byte in range((width + 14) // 8):  # that a field of this width can touch
                part = (shifted >> (8 * byte)) & 0xFF
                total += np.bincount(first + byte, part, minlength=len(total))  # a sum of disjoint bits is their union
        return total[:size].astype(np.uint8).tobytes()


class BitReader:
    """Reads a stream; the caller sees to it that fields begin within it. Bits behind its end are zero."""

    def __init__(self, stream: bytes) -> None:
        self.bits = 8 * len(stream)
        self._stream = stream + bytes(_SPILL)
        # Eight bytes from every byte on.
        self._words = np.ndarray((len(stream) + 1,), "<i8", self._stream, strides=(1,))
        flags = np.unpackbits(np.frombuffer(stream, np.uint8), bitorder="little").view(np.bool_)
        self.ones: Integers = np.flatnonzero(flags)
        """Where the bits are that are 1."""

    def ones_before(self, position: int) -> int:
        """How many bits are 1 before one."""
        return int(self.ones.searchsorted(position))

    def ones_before_all(self, positions: Integers) -> Integers:
        """The same of each of some bits."""
        return self.ones.searchsorted(positions)

    def field(self, position: int, width: int) -> int:
        """One field of at most 32 bits."""
        first = position >> 3
        return int.from_bytes(self._stream[first : first + 5], "little") >> (position & 7) & ((1 << width) - 1)

    def fields(self, positions: Integers, width: int) -> Integers:
        """Fields of at most 32 bits."""
        words = self._words[positions >> 3]  # 39 bits count, which a sign does not reach
        return np.asarray((words >> (positions & 7)) & ((1 << width) - 1))


def put_fixed(writer: BitWriter, z: Integers, inside: Flags, starts: Integers, width: int) -> None:
    """Puts rows of values, of which only some are inside, each row from its bit on."""
    row, column = np.nonzero(inside)
    writer.put(starts[row] + column * width, z[row, column], width)


def put_rice(writer: BitWriter, z: Integers, inside: Flags, starts: Integers, k: int) -> None:
    """Puts rows in Rice coding: z >> k in unary for each, then the low k bits of each."""
    row, column = np.nonzero(inside)
    ends = np.cumsum((z >> k) + inside, axis=1)
    writer.put(starts[row] + ends[row, column] - 1, np.ones_like(row), 1)
    if k:
        writer.put((starts + ends[:, -1])[row] + column * k, z[row, column] & ((1 << k) - 1), k)


def get_fixed(reader: BitReader, inside: Flags, starts: Integers, width: int) -> Integers:
    """Rows that put_fixed() wrote, with zeros where nothing is inside."""
    z = np.zeros(inside.shape, np.int64)
    row, column = np.nonzero(inside)
    z[row, column] = reader.fields(starts[row] + column * width, width)
    return z


def end_of_rice(reader: BitReader, n: int, start: int, k: int) -> int:
    """Where n values in Rice coding end; behind the end of the stream if that comes first."""
    last = reader.ones_before(start) + n
    return reader.bits + 1 if last > len(reader.ones) else int(reader.ones[last - 1]) + 1 + n * k


def get_rice(reader: BitReader, inside: Flags, starts: Integers, k: int) -> Integers:
    """Rows that put_rice() wrote, with zeros where nothing is inside; all of them are in the stream."""
    z = np.zeros(inside.shape, np.int64)
    row, column = np.nonzero(inside)
    ends = np.zeros(inside.shape, np.int64)
    ends[row, column] = reader.ones[reader.ones_before_all(starts)[row] + column]
    z[row, column] = (np.diff(ends, axis=1, prepend=starts[:, None] - 1) - 1)[row, column] << k
    if k:
        z[row, column] |= reader.fields((ends.max(axis=1) + 1)[row] + column * k, k)
    return z


def zigzag(values: Integers) -> Integers:
    """Signed numbers as unsigned ones that are small when they are: 0, -1, 1, -2, 2 ... become 0, 1, 2, 3, 4 ..."""
    return (values << 1) ^ (values >> 63)


def from_zigzag(codes: Integers) -> Integers:
    """The inverse of zigzag()."""
    return (codes >> 1) ^ -(codes & 1)
