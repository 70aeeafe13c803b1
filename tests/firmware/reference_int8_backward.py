"""The int8 backward pass once more, in plain numpy for clarity: what the kernels' headers say, in 64-bit integers.

Written from the headers, not from the C++: gradients are the transpose of slicing windows, sums are einsums, shifts are
divisions. It is what the kernels are compared with, bit for bit. Shapes are those of float32_reference.py.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from float32_reference import Array, Axis, Conv, Pool, Upsampling, windows
from numpy.typing import NDArray

Int = NDArray[np.int64]


def wide(array: Array) -> Int:
    return array.astype(np.int64)


def round_half_up(value: Int, shift: int | Int) -> Int:
    """value / 2^shift, halves towards plus infinity."""
    return (value + 2**shift // 2) // 2**shift


def scatter(rows: Axis, columns: Axis, values: Int) -> Int:
    """The transpose of `windows`: [out_h, out_w, kernel_h, kernel_w, c] added up to [in_h, in_w, c]."""
    sides = [max(a.pad + a.size, (a.outputs - 1) * a.stride + a.kernel) for a in (rows, columns)]
    padded = np.zeros((*sides, values.shape[-1]), np.int64)
    for oy in range(rows.outputs):
        for ox in range(columns.outputs):
            y, x = oy * rows.stride, ox * columns.stride
            padded[y : y + rows.kernel, x : x + columns.kernel] += values[oy, ox]
    return padded[rows.pad : rows.pad + rows.size, columns.pad : columns.pad + columns.size]


def conv_input_sums(conv: Conv, gy: Array, w: Array, lift: Array) -> Int:
    """w [out_c, kernel_h, kernel_w, group_in]."""
    outgoing = (wide(gy) << wide(lift)).reshape(*conv.y_shape[:2], conv.groups, -1)
    by_group = wide(w).reshape(conv.groups, -1, *w.shape[1:])
    products = np.einsum("yxgo,gohwi->yxhwgi", outgoing, by_group)
    return scatter(conv.rows, conv.columns, products.reshape(*products.shape[:4], conv.in_c))


def conv_weight_sums(conv: Conv, gy: Array, x: Array) -> Int:
    """[out_c, kernel_h, kernel_w, group_in]."""
    under = wide(windows(conv.rows, conv.columns, x))
    grouped = under.reshape(*under.shape[:4], conv.groups, conv.group_in)
    sums = np.einsum("yxhwgi,yxgo->gohwi", grouped, wide(gy).reshape(*conv.y_shape[:2], conv.groups, -1))
    return sums.reshape(conv.w_shape)


def avg_pool_sums(pool: Pool, gy: Array) -> Int:
    """In units 23 bits below those of gy."""
    share = (2**24 // pool.taps + 1) // 2
    kernel = (pool.rows.kernel, pool.columns.kernel)
    spread = np.broadcast_to(wide(gy)[:, :, None, None] * share, (*gy.shape[:2], *kernel, pool.channels))
    return scatter(pool.rows, pool.columns, spread)


def max_pool_sums(pool: Pool, gy: Array, winners: Array) -> Int:
    """winners: the winning tap for each element of y."""
    won = winners.reshape(gy.shape)[:, :, None] == np.arange(pool.taps)[:, None]
    values = (won * wide(gy)[:, :, None]).reshape(*gy.shape[:2], pool.rows.kernel, pool.columns.kernel, -1)
    return scatter(pool.rows, pool.columns, values)


def upsample_sums(shape: Upsampling, gy: Array) -> Int:
    sums = np.zeros(shape.x_shape, np.int64)
    for oy in range(shape.out_h):
        for ox in range(shape.out_w):
            sums[oy // shape.factor, ox // shape.factor] += gy[oy, ox]
    return sums


def added(a: Array, a_exponent: int, b: Array, b_exponent: int) -> tuple[Int, int]:
    """(sums, their exponent), 8 bits finer than the coarser of the two."""
    exponent = min(a_exponent, b_exponent) + 8

    def aligned(values: Array, of: int) -> Int:
        if of <= exponent:
            return wide(values) << (exponent - of)
        return round_half_up(wide(values), min(of - exponent, 30))

    return aligned(a, a_exponent) + aligned(b, b_exponent), exponent


@dataclass(frozen=True)
class Stored:
    """A gradient map in memory: `values` 2^shift times coarser than the sums; `clipped` of them were too large."""

    values: NDArray[np.int8]
    shift: int
    peak: int
    clipped: int


def store(sums: Int, gate: Array | None, peak: int, seed: int) -> Stored:
    """gate: booleans of the sums' shape, or None; peak: as the step before left it; seed: of the step."""
    passed = sums if gate is None else np.where(gate, sums, 0)
    shift = max(0, peak.bit_length() - 7)
    numbers = random_numbers(seed, 2**32 - 1 - peak, sums.size).reshape(sums.shape)
    rounded = (passed + numbers // 2 ** (32 - shift)) // 2**shift
    values = np.clip(rounded, -127, 127)
    next_peak = max(int(np.abs(passed).max(initial=0)), peak - peak // 16, 1)
    return Stored(values.astype(np.int8), shift, next_peak, int((values != rounded).sum()))


def random_numbers(seed: int, stream: int, count: int) -> Int:
    """The linear congruential generator behind MurmurHash3's finaliser (fixed.hpp, Random)."""

    def finalise(h: int) -> int:
        h = (h ^ h >> 16) * 0x85EBCA6B % 2**32
        h = (h ^ h >> 13) * 0xC2B2AE35 % 2**32
        return h ^ h >> 16

    state = finalise(seed ^ finalise((stream + 0x9E3779B9) % 2**32))
    numbers = []
    for _ in range(count):
        state = (state * 1664525 + 1013904223) % 2**32
        numbers.append(state)
    return np.array(numbers, np.int64)


@dataclass(frozen=True)
class Scale:
    """step = round(sum * 2^-before) * multiplier * 2^-shift, `before` alike for all channels of a layer."""

    before: int
    multiplier: Int
    shift: Int
    excess: Int
    """By how much the steps have to be shifted left where a shift would have to be negative."""

    @classmethod
    def of(cls, rate_q16: int, exponent: Int, terms: int, term_bits: int, lowest: int) -> Scale:
        """Of steps rate * sum * 2^exponent (one a channel), sums of `terms` terms below 2^term_bits."""
        dropped = max(0, rate_q16.bit_length() - 8)
        mantissa = (rate_q16 + 2**dropped // 2) // 2**dropped
        before = max(0, (terms - 1).bit_length() + term_bits - 22)
        right = 16 - dropped - exponent - before
        wanted = np.clip(right, lowest, 40)
        shift = np.minimum(wanted, 30)
        return cls(before, round_half_up(np.full_like(wanted, mantissa), wanted - shift), shift, np.clip(-right, 0, 30))


@dataclass(frozen=True)
class Update:
    """What all weight updates of a layer have in common; `exponent` of the weights, `lift` broadcast to their shape."""

    rate_q16: int
    seed: int
    stream: int
    exponent: int
    lift: Array
    gradient_exponent: int
    terms: int

    def _scaled(self, sums: Int, grid_bits: int) -> tuple[Int, Int]:
        exponent = self.exponent - wide(self.lift) + grid_bits - self.gradient_exponent
        scale = Scale.of(self.rate_q16, np.broadcast_to(exponent, sums.shape), self.terms, 14, 1)
        return round_half_up(sums, scale.before) * scale.multiplier, scale.shift

    def _stochastic_steps(self, sums: Int, grid_bits: int = 8) -> Int:
        product, shift = self._scaled(sums, grid_bits)
        numbers = random_numbers(self.seed, self.stream, sums.size).reshape(sums.shape)
        return (product + numbers // 2 ** (32 - shift)) // 2**shift

    def compensated(self, q: Array, r: Array, sums: Int) -> tuple[Array, Array, int]:
        """(q, r, clipped) after the step."""
        wanted = wide(q) * 256 + wide(r) - self._stochastic_steps(sums)
        fine = np.clip(wanted, -128 * 256 - 128, 127 * 256 + 127)
        new_q = (fine + 128) // 256
        return new_q.astype(np.int8), (fine - 256 * new_q).astype(np.int8), int((fine != wanted).sum())

    def compensated4(self, q: Array, pairs: Array, sums: Int) -> tuple[Array, Array, int]:
        """As above with residuals of four bits, two's complement, of which two share a byte, the first its low half."""
        halves = np.stack([wide(pairs) % 16, wide(pairs) // 16], axis=-1).reshape(-1)
        r = np.where(halves < 8, halves, halves - 16)[: q.size].reshape(q.shape)
        wanted = wide(q) * 16 + r - self._stochastic_steps(sums, 4)
        fine = np.clip(wanted, -128 * 16 - 8, 127 * 16 + 7)
        new_q = (fine + 8) // 16
        halves[: q.size] = ((fine - 16 * new_q) % 16).reshape(-1)
        return new_q.astype(np.int8), (halves[::2] + 16 * halves[1::2]).astype(np.uint8), int((fine != wanted).sum())

    def accumulated(self, q: Array, pending: Array, sums: Int) -> tuple[Array, Array, int]:
        wanted = wide(pending) - self._stochastic_steps(sums)
        kept = np.clip(wanted, -(2**15), 2**15 - 1)
        return q, kept.astype(np.int16), int((kept != wanted).sum())

    def truncated(self, q: Array, nothing: None, sums: Int) -> tuple[Array, None, int]:
        product, shift = self._scaled(sums, 0)
        wanted = wide(q) - np.sign(product) * (np.abs(product) // 2**shift)
        kept = np.clip(wanted, -128, 127)
        return kept.astype(np.int8), nothing, int((kept != wanted).sum())


def update_bias(bias: Array, gy: Array, rate_q16: int, exponent: Int, seed: int, stream: int) -> tuple[Array, int]:
    """(bias, clipped) after the step rate * (sum of gy [positions, channels]) * 2^exponent (one a channel)."""
    scale = Scale.of(rate_q16, exponent, len(gy), 7, 0)
    limit = 2**29 // 2**scale.excess
    product = np.clip(round_half_up(wide(gy).sum(axis=0), scale.before) * scale.multiplier, -limit, limit)
    numbers = random_numbers(seed, stream, product.size)
    step = (product + numbers // 2 ** (32 - scale.shift)) // 2**scale.shift * 2**scale.excess
    wanted = wide(bias) - step
    kept = np.clip(wanted, -(2**29), 2**29)
    return kept.astype(np.int32), int((kept != wanted).sum())
