"""The int8 forward pass once more, in plain numpy for clarity: what the kernels' headers say, in 64-bit integers.

Written from the headers, not from the C++: windows are slices, sums are einsums, shifts are divisions. It is what the
kernels are compared with, bit for bit. Of the losses the headers state the accuracy alone: those are in float64.
Shapes are those of float32_reference.py.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from float32_reference import Array, Conv, Double, Pool, packed, windows
from reference_int8_backward import Int, round_half_up, wide

BIAS_BITS = 8
"""By which a bias is finer than the sums that it adds to."""


def requantised(sums: Int, shifts: int | Array, bounds: Array) -> Int:
    low, high = bounds
    return np.asarray(np.clip(round_half_up(sums, np.asarray(shifts, np.int64)), low, high))


def conv_sums(conv: Conv, x: Array, w: Array, bias: Array) -> Int:
    """w [out_c, kernel_h, kernel_w, group_in], trained and frozen together."""
    under = wide(windows(conv.rows, conv.columns, x))
    grouped = under.reshape(*under.shape[:4], conv.groups, conv.group_in)
    sums = np.einsum("yxhwgi,gohwi->yxgo", grouped, wide(w).reshape(conv.groups, -1, *w.shape[1:]))
    return np.asarray(sums.reshape(conv.y_shape) + round_half_up(wide(bias), BIAS_BITS))


def depthwise_sums(conv: Conv, x: Array, w: Array, bias: Array) -> Int:
    """w [kernel_h, kernel_w, channels]."""
    sums = np.einsum("yxhwc,hwc->yxc", wide(windows(conv.rows, conv.columns, x)), wide(w))
    return np.asarray(sums + round_half_up(wide(bias), BIAS_BITS))


def added(a: Array, b: Array, lefts: tuple[int, int]) -> Int:
    return np.asarray(wide(a) * 2 ** lefts[0] + wide(b) * 2 ** lefts[1])


def avg_pool(pool: Pool, x: Array, lift: int) -> Int:
    share = (2**24 // pool.taps + 1) // 2
    sums = wide(windows(pool.rows, pool.columns, x)).sum(axis=(2, 3))
    return np.clip(round_half_up(sums * share, 23 - lift), -128, 127)


def max_pool(pool: Pool, x: Array) -> tuple[Array, Array]:
    """y, and the winners as they are packed."""
    highest = windows(pool.rows, pool.columns, x.astype(np.float64), -np.inf).max(axis=(2, 3))
    bits = 2 if pool.taps <= 4 else 4 if pool.taps <= 16 else 8
    return highest, packed(pool.winners(x), bits)


def gate(y: Array, bounds: Array) -> Array:
    """Packed, one bit an element."""
    low, high = bounds
    return packed((y > low) & ((y < high) | (high == 127)), 1)


@dataclass(frozen=True)
class Loss:
    """Of float64 maths: the loss, and its derivative by each output."""

    value: float
    slope: Double


def softmax_cross_entropy(logits: Array, exponent: int, label: int) -> Loss:
    below = (wide(logits) - int(logits.max())) * 2.0**-exponent
    powers = np.exp(below)
    return Loss(float(np.log(powers.sum()) - below[label]), powers / powers.sum() - one_hot(len(logits), label))


def mean_squared_error(y: Double, target: Double) -> Loss:
    """The loss clips differences to +-8, its slope to +-128."""
    difference = y - target
    return Loss(float(np.mean(np.clip(difference, -8, 8) ** 2)), 2 * np.clip(difference, -128, 128) / len(y))


def one_hot(n: int, label: int) -> Double:
    return np.asarray(np.arange(n) == label, np.float64)
