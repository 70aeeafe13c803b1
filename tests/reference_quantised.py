"""Forward passes of a network once more, in plain numpy: in float64, and as the int8 engine's headers specify it.

Written from the specification, not from the engine: windows are padded and sliced, shifts are divisions. Sums of
integers are made in float64, where they are exact below 2^53.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from bench.model.graph import INPUT, Add, AvgPool, Conv2d, Graph, MaxPool, Node, Upsample, Window

if TYPE_CHECKING:
    from bench.compiler.quantise import Exponents

Real = NDArray[np.float64]
Int = NDArray[np.int64]
RANGES = {"linear": (-np.inf, np.inf), "relu": (0.0, np.inf), "relu6": (0.0, 6.0)}


def windows(x: Real, op: Window, out: tuple[int, ...], fill: float = 0.0) -> Real:
    """[n, out_h, out_w, kernel_h * kernel_w, c] of x [n, h, w, c]; `fill` outside of the map."""
    pads = [(0, 0)]
    for axis in (0, 1):
        reach = (out[axis] - 1) * op.stride[axis] + op.kernel[axis] - op.pad[axis]
        pads.append((op.pad[axis], max(0, reach - x.shape[1 + axis])))
    padded = np.pad(x, [*pads, (0, 0)], constant_values=fill)
    views = np.lib.stride_tricks.sliding_window_view(padded, op.kernel, axis=(1, 2))
    views = views[:, :: op.stride[0], :: op.stride[1]][:, : out[0], : out[1]]
    return views.transpose(0, 1, 2, 4, 5, 3).reshape(len(x), out[0], out[1], op.taps, x.shape[3])


def convolve(x: Real, weights: Real, op: Conv2d, out: tuple[int, ...]) -> Real:
    """[n, out_h, out_w, out_c] of x [n, h, w, c] and weights [out_c, kernel_h, kernel_w, c / groups]."""
    seen = windows(x, op, out)
    group_in, group_out = x.shape[3] // op.groups, len(weights) // op.groups
    if group_in == group_out == 1:
        return np.einsum("nhwtc,ct->nhwc", seen, weights.reshape(len(weights), -1))
    parts = []
    for group in range(op.groups):
        mine = seen[..., group * group_in : (group + 1) * group_in].reshape(*seen.shape[:3], -1)
        kernel = weights[group * group_out : (group + 1) * group_out].reshape(group_out, -1)
        parts.append(mine @ kernel.T)
    return np.concatenate(parts, axis=-1)


def upsample(x: Real, op: Upsample, out: tuple[int, ...]) -> Real:
    """Each element factor x factor times, cut off at `out`."""
    return x.repeat(op.factor, axis=1).repeat(op.factor, axis=2)[:, : out[0], : out[1]]


def float_forward(graph: Graph, samples: NDArray[np.floating]) -> dict[str, Real]:
    """Output of each node, and INPUT, for samples [n, h, w, c], in float64."""
    maps: dict[str, Real] = {INPUT: samples.astype(np.float64)}
    for node in graph.nodes:
        x = maps[node.inputs[0]]
        if isinstance(node.op, Conv2d):
            y = convolve(x, node.weights.astype(np.float64), node.op, node.shape) + node.bias
        elif isinstance(node.op, MaxPool):
            y = windows(x, node.op, node.shape, -np.inf).max(axis=3)
        elif isinstance(node.op, AvgPool):
            y = windows(x, node.op, node.shape).sum(axis=3) / node.op.taps
        elif isinstance(node.op, Add):
            y = x + maps[node.inputs[1]]
        else:
            y = upsample(x, node.op, node.shape)
        maps[node.name] = np.clip(y, *RANGES[node.activation])
    return maps


def quantised_forward(graph: Graph, exponents: Exponents, samples: NDArray[np.int8]) -> dict[str, Int]:
    """Stored integers of each node's output, and INPUT, for int8 samples [n, h, w, c].

    Of the last node, where the loss reads int32 sums, these.
    """
    known = {INPUT: exponents.input, **exponents.outputs}
    maps: dict[str, Int] = {INPUT: samples.astype(np.int64)}
    for node in graph.nodes:
        x = [maps[name] for name in node.inputs]
        e = [known[name] for name in node.inputs]
        maps[node.name] = _node(node, x, e, known.get(node.name), exponents)
    return maps


def _node(node: Node, x: list[Int], e: list[int], y_exponent: int | None, exponents: Exponents) -> Int:
    op = node.op
    if isinstance(op, Conv2d):
        sums, scale = _sums(node, x[0], e[0], exponents)
        if y_exponent is None:
            return sums
        shifts = e[0] + scale - y_exponent
        assert shifts.min() >= 0
        assert shifts.max() <= 30
        return _clamp(shift_right(sums, shifts), node, y_exponent)
    assert y_exponent is not None
    if isinstance(op, Add):
        finest = max(*e, y_exponent)
        left, right = [finest - one for one in e], finest - y_exponent
        assert max(left) <= 15
        assert 0 <= right <= 22
        return _clamp(shift_right((x[0] << left[0]) + (x[1] << left[1]), np.asarray(right)), node, y_exponent)
    if isinstance(op, AvgPool):
        lift = y_exponent - e[0]
        assert 0 <= lift <= 7
        return _clamp(
            _mean(windows(x[0], op, node.shape).astype(np.int64).sum(axis=3), op.taps, lift), node, y_exponent
        )
    assert y_exponent == e[0]
    if isinstance(op, MaxPool):
        return windows(x[0], op, node.shape, -128).max(axis=3).astype(np.int64)
    return upsample(x[0], op, node.shape).astype(np.int64)


def _sums(node: Node, x: Int, x_exponent: int, exponents: Exponents) -> tuple[Int, Int]:
    """Accumulators, and the exponents of the weights by output channel."""
    scale = exponents.weights[node.name]
    by_channel = scale.exponent - np.asarray(scale.lift, dtype=np.int64)
    weights = stored(node.weights, by_channel[:, None, None, None], -128, 127)
    fine = stored(node.bias, x_exponent + by_channel + 8, -(2**29), 2**29)
    bias = shift_right(fine.astype(np.int64), np.int64(8))
    sums = np.rint(convolve(x.astype(np.float64), weights, node.op, node.shape)).astype(np.int64) + bias.astype(
        np.int64
    )
    assert np.abs(sums).max() < 2**31
    return sums, by_channel


def stored(values: NDArray[np.float32], exponents: Int, low: int, high: int) -> Real:
    """Real values as integers: rounded to nearest, halves up, and clipped."""
    return np.clip(np.floor(np.ldexp(values.astype(np.float64), exponents) + 0.5), low, high)


def shift_right(values: Int, shifts: Int) -> Int:
    """Division by a power of two, rounded to nearest, halves up."""
    return np.floor_divide(2 * values + (np.int64(1) << shifts), np.int64(2) << shifts)


def _mean(sums: Int, taps: int, lift: int) -> Int:
    """sums / taps * 2^lift, rounded to nearest."""
    return np.floor_divide(2 * (sums << lift) + taps, 2 * taps)


def _clamp(values: Int, node: Node, exponent: int) -> Int:
    low, high = RANGES[node.activation]
    top = 127 if high == np.inf else min(127, round(high * 2.0**exponent))
    return np.clip(values, -128 if low == -np.inf else 0, top)
