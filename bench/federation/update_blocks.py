"""Blocks of an update: quantiser and entropy coder, all blocks at a time.

The format is described in firmware/federation/update.hpp, which gives the same bits. Blocks are rows of 64 values; a
row that is shorter is filled up with zeros.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from bench.errors import ConfigError
from bench.federation.bit_fields import (
    BitReader,
    BitWriter,
    Flags,
    Integers,
    end_of_rice,
    from_zigzag,
    get_fixed,
    get_rice,
    put_fixed,
    put_rice,
    zigzag,
)
from bench.model.wire import BLOCK

LARGEST = 2**30
"""What every |p| is cut to."""

_ZEROS = 0
_LARGEST_SCALE = 240
_SWITCH = _LARGEST_SCALE + 1
_PLAIN, _RICE, _BITMAP, _RUNS = 0, 1, 8, 9
_MODES = 15
_COUNT_BITS = 6
_SUM_BITS = 26
"""Of each term of a sum of 64, so that it has 32."""


@dataclass(frozen=True)
class CodecSettings:
    """How updates are coded.

    Raises:
        ConfigError: settings that are not possible.
    """

    bits: int = 8
    """Of a level: 8, 4, 2 or 1."""
    keep: int = 256
    """Of 256 values of largest magnitude in a block so many are sent, 1 to 256."""
    error_feedback: bool = True
    """The client keeps what was not sent, and adds it to its next update."""
    entropy: bool = True
    """Each block is coded in the way that is shortest for it."""

    def __post_init__(self) -> None:
        if self.bits not in (8, 4, 2, 1):
            raise ConfigError(f"update: bits: is {self.bits}, must be 8, 4, 2 or 1")
        if not 1 <= self.keep <= 256:
            raise ConfigError(f"update: keep: is {self.keep}, must be 1 to 256 (of 256 values)")

    @property
    def flags(self) -> int:
        """As a message's header has them."""
        return self.bits.bit_length() - 1 | 4 * self.entropy | 8 * self.error_feedback

    @property
    def modes(self) -> tuple[int, ...]:
        """Those that a block may be coded in, in ascending order."""
        if not self.entropy:
            return (_PLAIN,)
        bitmap = (_BITMAP,) if self.bits > 1 else ()
        return (_PLAIN, *range(_RICE, _RICE + self.bits - 1), *bitmap, *range(_RUNS, _MODES))

    @property
    def nonzero_width(self) -> int:
        """Bits of a level that is known not to be 0."""
        return 1 if self.bits == 2 else self.bits


@dataclass(frozen=True)
class Rows:
    """Blocks of `values` values in all; `lengths` says how many each has."""

    lengths: Integers

    @cached_property
    def inside(self) -> Flags:
        """[blocks, 64]: what is not filling."""
        return np.arange(BLOCK) < self.lengths[:, None]

    @property
    def values(self) -> int:
        """In all blocks."""
        return int(self.lengths.sum())

    def spread(self, flat: Integers) -> Integers:
        """Values in order as [blocks, 64]."""
        rows = np.zeros(self.inside.shape, np.int64)
        rows[self.inside] = flat
        return rows

    @staticmethod
    def of(sizes: tuple[int, ...]) -> Rows:
        """Of tensors of these sizes, divided one by one."""
        return Rows(np.array([min(BLOCK, n - at) for n in sizes for at in range(0, n, BLOCK)], dtype=np.int64))


@dataclass(frozen=True)
class Quantised:
    """Codes of scales [blocks], scales [blocks] (0 for a block of zeros), levels [blocks, 64]."""

    codes: Integers
    scales: Integers
    levels: Integers


def scales_of(codes: Integers) -> Integers:
    """What the codes of scales stand for; 0 for that of a block of zeros."""
    values: Integers = np.where(codes == _ZEROS, 0, ((8 + (codes & 7)) << (codes >> 3)) >> 3)
    return values


def quantise(p: Integers, rows: Rows, settings: CodecSettings) -> Quantised:
    """Levels and scales of p [blocks, 64], |p| <= LARGEST."""
    magnitudes = np.abs(p)
    kept = _kept(magnitudes, rows, settings.keep)
    if settings.bits == 1:
        bounds = _mean_magnitudes(magnitudes, kept)
    else:
        most = 2 ** (settings.bits - 1) - 1
        bounds = (magnitudes.max(axis=1, initial=0) + most - 1) // most
    codes = _codes_above(bounds)
    scales = scales_of(codes)
    if settings.bits == 1:
        levels = _signs(p, rows, all_stay=settings.keep == 256)
    else:
        divisor = np.maximum(scales, 1)[:, None]
        levels = (2 * magnitudes + divisor) // (2 * divisor) * np.sign(p)
    return Quantised(codes, scales, np.where(kept & (codes != _ZEROS)[:, None], levels, 0))


def _signs(p: Integers, rows: Rows, *, all_stay: bool) -> Integers:
    """1-bit levels: where all values stay, a few zeros are passed over."""
    signs = np.sign(p)
    if not all_stay:
        return signs
    few = 4 * (rows.inside & (p == 0)).sum(axis=1) <= rows.lengths
    return np.where(few[:, None] & (signs == 0), 1 - 2 * (np.arange(BLOCK) & 1), signs)


def _kept(magnitudes: Integers, rows: Rows, keep: int) -> Flags:
    """Which values of [blocks, 64] stay."""
    if keep == 256:
        return rows.inside
    wanted = (rows.lengths * keep + 255) >> 8
    # All keys of a row differ, and of equal magnitudes the first value's is the largest; those of filling are below.
    keys = np.where(rows.inside, magnitudes * BLOCK + np.arange(BLOCK - 1, -1, -1), -1)
    ascending = np.sort(keys, axis=1)
    least = ascending[np.arange(len(keys)), BLOCK - wanted]
    return np.asarray(keys >= least[:, None])


def _mean_magnitudes(magnitudes: Integers, kept: Flags) -> Integers:
    """Of the kept values that are not 0, per block; 0 if there are none."""
    shift = np.maximum(_bit_lengths(magnitudes.max(axis=1, initial=0)) - _SUM_BITS, 0)
    sums = np.where(kept, magnitudes >> shift[:, None], 0).sum(axis=1)
    counts = np.maximum((kept & (magnitudes > 0)).sum(axis=1), 1)
    return np.asarray((sums + counts - 1) // counts << shift)


def _codes_above(bounds: Integers) -> Integers:
    """Codes of the smallest scales that are not below the bounds, 0 <= bound <= LARGEST."""
    exponents = np.maximum(_bit_lengths(bounds) - 1, 0)
    low = np.maximum(exponents - 3, 0)
    mantissas = ((bounds << np.maximum(3 - exponents, 0)) + (1 << low) - 1) >> low
    codes = exponents * 8 + mantissas - 8  # a mantissa of 16 carries into the exponent
    return np.where(bounds == 0, _ZEROS, np.maximum(codes, 1))


def _bit_lengths(values: Integers) -> Integers:
    """Position of the highest set bit + 1, 0 for 0; values < 2^53."""
    return np.frexp(values.astype(np.float64))[1].astype(np.int64)


def write_blocks(quantised: Quantised, rows: Rows, settings: CodecSettings, header: bytes) -> bytes:
    """A message: header and blocks."""
    z = zigzag(quantised.levels)
    costs = _payloads(z, rows, settings)
    modes, switches = _choose_modes(costs, settings, quantised.codes != _ZEROS)
    payload = np.where(modes >= 0, np.take_along_axis(costs, np.maximum(modes, 0)[:, None], axis=1)[:, 0], 0)
    heads = 8 + 8 * switches
    ends = 8 * len(header) + np.cumsum(heads + payload)
    starts = ends - payload

    writer = BitWriter()
    writer.put(8 * np.arange(len(header)), np.frombuffer(header, np.uint8).astype(np.int64), 8)
    writer.put(starts - 8, quantised.codes, 8)
    writer.put((starts - 16)[switches], _SWITCH + modes[switches], 8)
    for mode in np.unique(modes[modes >= 0]):
        chosen = modes == mode
        _write_levels(writer, int(mode), z[chosen], rows.inside[chosen], starts[chosen], settings)
    return writer.pack(int(ends[-1]) if len(ends) else 8 * len(header))


_NEVER = 2**40
"""Cost of a mode that cannot be used."""


def _payloads(z: Integers, rows: Rows, settings: CodecSettings) -> Integers:
    """Bits that the levels of each block take in each mode, [blocks, modes]."""
    n, nonzero = rows.lengths, np.count_nonzero(z, axis=1)
    values = nonzero * settings.nonzero_width
    costs = np.full((len(n), _MODES), _NEVER)
    costs[:, _PLAIN] = n * settings.bits if settings.bits > 1 else 1 + n + np.where(nonzero == n, 0, values)
    if not settings.entropy:
        return costs
    if settings.bits > 1:
        costs[:, _BITMAP] = n + values
    small = z.astype(np.uint8)
    for k in range(settings.bits - 1):
        costs[:, _RICE + k] = (small >> k).sum(axis=1, dtype=np.int64) + n * (k + 1)
    sparse = 2 * nonzero <= n
    runs, fixed = _runs(z[sparse])[0].astype(np.uint8), _COUNT_BITS + values[sparse]
    for k in range(_MODES - _RUNS):
        costs[sparse, _RUNS + k] = fixed + (runs >> k).sum(axis=1, dtype=np.int64) + nonzero[sparse] * (k + 1)
    return costs


def _runs(z: Integers) -> tuple[Integers, Integers, Integers]:
    """Of each row: the numbers of zeros before each value that is not 0, these values, how many they are."""
    row, column = np.nonzero(z)
    counts = np.count_nonzero(z, axis=1)
    rank = np.arange(len(row)) - np.repeat(np.cumsum(counts) - counts, counts)
    before = np.where(rank == 0, -1, np.roll(column, 1))
    runs, values = np.zeros_like(z), np.zeros_like(z)
    runs[row, rank] = column - before - 1
    values[row, rank] = z[row, column]
    return runs, values, counts


def _choose_modes(costs: Integers, settings: CodecSettings, used: Flags) -> tuple[Integers, Flags]:
    """The mode of each block, -1 where there are no levels, and whether it begins with a switch to it."""
    modes = np.where(used, _PLAIN, -1)
    if len(settings.modes) > 1:
        others, rows = costs[:, 1:].argmin(axis=1) + 1, costs.tolist()
        current = _PLAIN
        for index, other in enumerate(others.tolist()):
            if not used[index]:
                continue
            row, change = rows[index], 16 if current == _PLAIN else 8
            choices = (row[_PLAIN], _PLAIN), (row[current], current), (row[other] + change, other)
            current = min(choices)[1]
            modes[index] = current
    before = np.concatenate([[_PLAIN], modes[modes >= 0][:-1]])
    switches = np.zeros(len(modes), np.bool_)
    switches[modes >= 0] = modes[modes >= 0] != before[: np.count_nonzero(modes >= 0)]
    return modes, switches


def _write_levels(
    writer: BitWriter, mode: int, z: Integers, inside: Flags, starts: Integers, settings: CodecSettings
) -> None:
    """Puts the levels of blocks that have one mode."""
    if mode == _PLAIN and settings.bits > 1:
        put_fixed(writer, z, inside, starts, settings.bits)
    elif mode == _PLAIN:
        sparse = ((z == 0) & inside).any(axis=1)
        writer.put(starts, sparse.astype(np.int64), 1)
        put_fixed(writer, z[~sparse] - 1, inside[~sparse], starts[~sparse] + 1, 1)
        _put_bitmap(writer, z[sparse], inside[sparse], starts[sparse] + 1, 1)
    elif mode == _BITMAP:
        _put_bitmap(writer, z, inside, starts, settings.nonzero_width)
    elif mode < _BITMAP:
        put_rice(writer, z, inside, starts, mode - _RICE)
    else:
        _put_runs(writer, z, starts, mode - _RUNS, settings.nonzero_width)


def _put_bitmap(writer: BitWriter, z: Integers, inside: Flags, starts: Integers, width: int) -> None:
    put_fixed(writer, (z != 0).astype(np.int64), inside, starts, 1)
    _, values, counts = _runs(z)
    put_fixed(writer, values - 1, np.arange(BLOCK) < counts[:, None], starts + inside.sum(axis=1), width)


def _put_runs(writer: BitWriter, z: Integers, starts: Integers, k: int, width: int) -> None:
    runs, values, counts = _runs(z)
    used = np.arange(BLOCK) < counts[:, None]
    writer.put(starts, counts - 1, _COUNT_BITS)
    put_rice(writer, runs, used, starts + _COUNT_BITS, k)
    put_fixed(writer, values - 1, used, starts + _COUNT_BITS + (runs >> k).sum(axis=1) + counts * (k + 1), width)


def read_blocks(stream: BitReader, position: int, rows: Rows, settings: CodecSettings) -> Quantised:
    """Reads all blocks, of which the first begins at a bit of the stream.

    Raises:
        ConfigError: truncated, too long, or values that no encoder writes.
    """
    modes, codes, starts, end = _read_heads(stream, position, rows, settings)
    if end > stream.bits or stream.bits - end >= 8 or stream.ones_before(stream.bits) != stream.ones_before(end):
        raise ConfigError(f"update: {stream.bits // 8} bytes, but its blocks end after {-(-end // 8)}")
    z = np.zeros(rows.inside.shape, np.int64)
    for mode in np.unique(modes[modes >= 0]):
        chosen = modes == mode
        z[chosen] = _read_levels(stream, int(mode), rows.inside[chosen], starts[chosen], settings)
    most = 2 if settings.bits == 1 else 2**settings.bits - 2
    levels, scales = from_zigzag(z), scales_of(codes)
    if z.max(initial=0) > most or np.abs(levels * scales[:, None]).max(initial=0) >= 2**31:
        raise ConfigError("update: a level that no encoder writes")
    return Quantised(codes, scales, levels)


def _read_heads(
    stream: BitReader, position: int, rows: Rows, settings: CodecSettings
) -> tuple[Integers, Integers, Integers, int]:
    """Modes (-1: no levels), codes and first bit of the levels of each block; where the last one ends."""
    heads: list[tuple[int, int, int]] = []
    mode = _PLAIN
    for n in rows.lengths.tolist():
        code = stream.field(position, 8)
        if code >= _SWITCH:
            mode = code - _SWITCH
            code = stream.field(position + 8, 8)
            position += 8
            if mode not in settings.modes or code == _ZEROS or code >= _SWITCH:
                raise ConfigError(f"update: block {len(heads)} has mode {mode} and scale {code}, which none has")
        position += 8
        heads.append((mode if code else -1, code, position))
        if code:
            position = _end_of_levels(stream, mode, n, position, settings)
        if position > stream.bits:
            raise ConfigError(f"update: ends within block {len(heads) - 1} of {len(rows.lengths)}")
    table = np.array(heads, dtype=np.int64).reshape(-1, 3)
    return table[:, 0], table[:, 1], table[:, 2], position


def _end_of_levels(stream: BitReader, mode: int, n: int, start: int, settings: CodecSettings) -> int:
    """Where the levels of a block end; behind the end of the stream if that comes first."""
    width = settings.nonzero_width
    if mode == _PLAIN and settings.bits > 1:
        return start + n * settings.bits
    if mode == _PLAIN:
        return _end_of_bitmap(stream, n, start + 1, width) if stream.field(start, 1) else start + 1 + n
    if mode == _BITMAP:
        return _end_of_bitmap(stream, n, start, width)
    if mode < _BITMAP:
        return end_of_rice(stream, n, start, mode - _RICE)
    count = stream.field(start, _COUNT_BITS) + 1
    return end_of_rice(stream, count, start + _COUNT_BITS, mode - _RUNS) + count * width


def _end_of_bitmap(stream: BitReader, n: int, start: int, width: int) -> int:
    end = start + n
    return end if end > stream.bits else end + (stream.ones_before(end) - stream.ones_before(start)) * width


def _read_levels(stream: BitReader, mode: int, inside: Flags, starts: Integers, settings: CodecSettings) -> Integers:
    """Zigzag codes [blocks, 64] of blocks that have one mode."""
    if mode == _PLAIN and settings.bits > 1:
        return get_fixed(stream, inside, starts, settings.bits)
    if mode == _PLAIN:
        sparse = stream.fields(starts, 1) != 0
        z = np.zeros(inside.shape, np.int64)
        z[~sparse] = get_fixed(stream, inside[~sparse], starts[~sparse] + 1, 1) + inside[~sparse]
        z[sparse] = _get_bitmap(stream, inside[sparse], starts[sparse] + 1, 1)
        return z
    if mode == _BITMAP:
        return _get_bitmap(stream, inside, starts, settings.nonzero_width)
    if mode < _BITMAP:
        return get_rice(stream, inside, starts, mode - _RICE)
    return _get_runs(stream, inside, starts, mode - _RUNS, settings.nonzero_width)


def _get_bitmap(stream: BitReader, inside: Flags, starts: Integers, width: int) -> Integers:
    z = get_fixed(stream, inside, starts, 1)
    row, column = np.nonzero(z)
    rank = np.cumsum(z, axis=1)[row, column] - 1
    z[row, column] += stream.fields((starts + inside.sum(axis=1))[row] + rank * width, width)
    return z


def _get_runs(stream: BitReader, inside: Flags, starts: Integers, k: int, width: int) -> Integers:
    counts = stream.fields(starts, _COUNT_BITS) + 1
    used = np.arange(BLOCK) < counts[:, None]
    runs = get_rice(stream, used, starts + _COUNT_BITS, k)
    behind = starts + _COUNT_BITS + (runs >> k).sum(axis=1) + counts * (k + 1)
    values = get_fixed(stream, used, behind, width) + 1
    places = np.cumsum(runs + 1, axis=1) - 1
    if (used & (places >= inside.sum(axis=1)[:, None])).any():
        raise ConfigError("update: a run of zeros leaves its block")
    z = np.zeros(inside.shape, np.int64)
    row, rank = np.nonzero(used)
    z[row, places[row, rank]] = values[row, rank]
    return z
