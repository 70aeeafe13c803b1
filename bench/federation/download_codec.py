"""The lossless difference between two versions of what the server sends down, for a client that has the older one.

The format is described in firmware/federation/download.hpp, which applies it in place on a board.
"""

from __future__ import annotations

import numpy as np

from bench.errors import ConfigError
from bench.federation.bit_fields import (
    BitReader,
    BitWriter,
    Integers,
    end_of_rice,
    from_zigzag,
    get_fixed,
    get_rice,
    put_fixed,
    put_rice,
    zigzag,
)
from bench.federation.update_blocks import Rows
from bench.model.wire import Segment

FORMAT_VERSION = 1
_DENSE, _DIFFERENCE = 2, 3
_HEADER_BYTES = 5
_CODE_BITS = 6
_RICE = 33
"""Code of a block in Rice coding with parameter 0; below are widths."""


def encode_download(segments: tuple[Segment, ...], new: bytes, old: bytes) -> bytes:
    """A message that turns the old bytes into the new; the new as they are where that is shorter.

    Raises:
        ConfigError: a length that is not the segments'.
    """
    size = sum(segment.bytes for segment in segments)
    for name, blob in (("new", new), ("old", old)):
        if len(blob) != size:
            raise ConfigError(f"download: {len(blob)} bytes of the {name} version, the plan says {size}")
    message = _difference(segments, new, old)
    dense = _header(_DENSE, size) + new
    return message if len(message) < len(dense) else dense


def decode_download(segments: tuple[Segment, ...], message: bytes, old: bytes) -> bytes:
    """The new bytes.

    Raises:
        ConfigError: a message that is not for such segments, or malformed.
    """
    size = sum(segment.bytes for segment in segments)
    if len(old) != size:
        raise ConfigError(f"download: {len(old)} bytes of the old version, the plan says {size}")
    for kind in (_DENSE, _DIFFERENCE):
        if message[:_HEADER_BYTES] == _header(kind, size):
            break
    else:
        raise ConfigError(f"download: not a message of version {FORMAT_VERSION} for {size} bytes")
    if kind == _DIFFERENCE:
        return _apply(segments, BitReader(message), old)
    if len(message) != _HEADER_BYTES + size:
        raise ConfigError(f"download: {len(message)} bytes instead of {_HEADER_BYTES + size}")
    return message[_HEADER_BYTES:]


def _header(kind: int, size: int) -> bytes:
    return bytes([FORMAT_VERSION << 4 | kind]) + size.to_bytes(4, "little")


def _values(segments: tuple[Segment, ...], blob: bytes) -> list[Integers]:
    """Each segment's values, unsigned."""
    found, at = [], 0
    for segment in segments:
        found.append(np.frombuffer(blob, "<u4" if segment.words else "u1", segment.count, at).astype(np.int64))
        at += segment.bytes
    return found


def _difference(segments: tuple[Segment, ...], new: bytes, old: bytes) -> bytes:
    writer = BitWriter()
    header = np.frombuffer(_header(_DIFFERENCE, len(new)), np.uint8).astype(np.int64)
    writer.put(8 * np.arange(len(header)), header, 8)
    end = 8 * len(header)
    for segment, after, before in zip(segments, _values(segments, new), _values(segments, old), strict=True):
        half = 1 << (segment.bits - 1)
        signed = ((after - before + half) & (2 * half - 1)) - half
        end = _write_segment(writer, Rows.of((segment.count,)), zigzag(signed), segment.bits, end)
    return writer.pack(end)


def _write_segment(writer: BitWriter, rows: Rows, flat: Integers, bits: int, start: int) -> int:
    """Puts a segment's blocks from a bit on; returns where they end."""
    u = rows.spread(flat)
    widths = np.frexp(u.max(axis=1).astype(np.float64))[1].astype(np.int64)
    shifted = np.stack([(u >> k).sum(axis=1) for k in range(bits - 1)], axis=1)
    rice = shifted + rows.lengths[:, None] * np.arange(1, bits)
    plain = rows.lengths * widths
    best = rice.argmin(axis=1)
    codes = np.where(rice.min(axis=1) < plain, _RICE + best, widths)
    payload = np.minimum(rice.min(axis=1), plain)
    ends = start + np.cumsum(_CODE_BITS + payload)
    starts = ends - payload
    writer.put(starts - _CODE_BITS, codes, _CODE_BITS)
    for code in np.unique(codes[codes > 0]):
        chosen = codes == code
        z, inside, at = u[chosen], rows.inside[chosen], starts[chosen]
        if code < _RICE:
            put_fixed(writer, z, inside, at, int(code))
        else:
            put_rice(writer, z, inside, at, int(code) - _RICE)
    return int(ends[-1])


def _apply(segments: tuple[Segment, ...], stream: BitReader, old: bytes) -> bytes:
    position = 8 * _HEADER_BYTES
    parts = []
    for segment, before in zip(segments, _values(segments, old), strict=True):
        u, position = _read_segment(stream, position, segment)
        after = (before + from_zigzag(u)) & ((1 << segment.bits) - 1)
        parts.append(after.astype("<u4" if segment.words else "u1").tobytes())
    if stream.bits - position >= 8 or stream.ones_before(stream.bits) != stream.ones_before(position):
        raise ConfigError(f"download: {stream.bits // 8} bytes, but its blocks end after {-(-position // 8)}")
    return b"".join(parts)


def _read_segment(stream: BitReader, position: int, segment: Segment) -> tuple[Integers, int]:
    """A segment's zigzag codes, and where its blocks end."""
    rows = Rows.of((segment.count,))
    heads: list[tuple[int, int]] = []
    for n in rows.lengths.tolist():
        code = stream.field(position, _CODE_BITS)
        position += _CODE_BITS
        if not (code <= segment.bits or _RICE <= code < _RICE + segment.bits - 1):
            raise ConfigError(f"download: a block has code {code}, which none has")
        heads.append((code, position))
        position = position + n * code if code < _RICE else end_of_rice(stream, n, position, code - _RICE)
        if position > stream.bits:
            raise ConfigError("download: ends within a block")
    codes, starts = np.array(heads, dtype=np.int64).reshape(-1, 2).T
    u = np.zeros(rows.inside.shape, np.int64)
    for code in np.unique(codes[codes > 0]):
        chosen = codes == code
        inside, at = rows.inside[chosen], starts[chosen]
        fixed = code < _RICE
        u[chosen] = (
            get_fixed(stream, inside, at, int(code)) if fixed else get_rice(stream, inside, at, int(code) - _RICE)
        )
    if u.max(initial=0) >> segment.bits:
        raise ConfigError("download: a value that no encoder writes")
    return u[rows.inside], position
