"""Computes a network in float32 with numpy: what every node writes for a batch of samples, for calibration."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from bench.errors import ConfigError
from bench.model.graph import INPUT, Activation, Add, AvgPool, Conv2d, Float, Graph, MaxPool, Node, Upsample, Window

LARGEST_PATCHES = 1 << 24
"""Elements of the matrix of windows that are laid out at a time."""


def forward(graph: Graph, samples: Float) -> dict[str, Float]:
    """What each node writes, after its activation, [n, h, w, c], for samples [n, h, w, c]; the last is the output.

    Raises:
        ConfigError: samples of another shape than the network's.
    """
    if samples.ndim != 4 or samples.shape[1:] != graph.input_shape:
        raise ConfigError(
            f"model {graph.name}: samples of shape {samples.shape[1:]} for an input of {graph.input_shape} (h, w, c)"
        )
    maps: dict[str, Float] = {INPUT: np.ascontiguousarray(samples, dtype=np.float32)}
    for node in graph.nodes:
        maps[node.name] = _activated(_output(node, [maps[name] for name in node.inputs]), node.activation)
    del maps[INPUT]
    return maps


def _output(node: Node, inputs: list[Float]) -> Float:
    x, op = inputs[0], node.op
    if isinstance(op, Add):
        return x + inputs[1]
    if isinstance(op, Upsample):
        repeated = x.repeat(op.factor, axis=1).repeat(op.factor, axis=2)
        return np.ascontiguousarray(repeated[:, : node.shape[0], : node.shape[1]])
    if isinstance(op, Conv2d):
        return _conv(node, op, x)
    if isinstance(op, MaxPool):
        return _combined(np.maximum, _taps(node, op, x, -np.inf))
    return _combined(np.add, _taps(node, op, x, 0.0)) / np.float32(op.taps)


def _activated(y: Float, activation: Activation) -> Float:
    if activation == "linear":
        return y
    return np.clip(y, 0, 6 if activation == "relu6" else None, out=y)


def _conv(node: Node, op: Conv2d, x: Float) -> Float:
    assert node.weights is not None
    assert node.bias is not None
    if op.groups == x.shape[3] == node.shape[2]:
        taps = node.weights[..., 0].reshape(len(node.weights), -1).T  # [taps, c]
        return (
            _combined(np.add, (part * tap for part, tap in zip(_taps(node, op, x, 0.0), taps, strict=True))) + node.bias
        )
    y = np.empty((len(x), *node.shape), np.float32)
    step = max(1, LARGEST_PATCHES // (node.shape[0] * node.shape[1] * op.taps * x.shape[3]))
    inside, outside = x.shape[3] // op.groups, node.shape[2] // op.groups
    for first in range(0, len(x), step):
        # [n, out_h, out_w, taps, in_c]: one row of a matrix product for each window.
        windows = np.stack(list(_taps(node, op, x[first : first + step], 0.0)), axis=3)
        for group in range(op.groups):
            rows = windows[..., group * inside : (group + 1) * inside].reshape(-1, op.taps * inside)
            own = slice(group * outside, (group + 1) * outside)
            product = rows @ node.weights[own].reshape(outside, -1).T
            y[first : first + step, ..., own] = product.reshape(*windows.shape[:3], outside)
    return y + node.bias


def _taps(node: Node, op: Window | AvgPool, x: Float, fill: float) -> Iterator[Float]:
    """What lies under each of the kernel's positions in turn, [n, out_h, out_w, c]."""
    sides = []
    for axis in (0, 1):
        end = (node.shape[axis] - 1) * op.stride[axis] + op.kernel[axis] - op.pad[axis] - x.shape[axis + 1]
        sides.append((op.pad[axis], max(end, 0)))
    padded = np.pad(x, [(0, 0), *sides, (0, 0)], constant_values=fill) if any(map(any, sides)) else x
    spans = [(node.shape[axis] - 1) * op.stride[axis] + 1 for axis in (0, 1)]
    for row in range(op.kernel[0]):
        for column in range(op.kernel[1]):
            yield padded[:, row : row + spans[0] : op.stride[0], column : column + spans[1] : op.stride[1]]


def _combined(function: np.ufunc, parts: Iterator[Float]) -> Float:
    total = next(parts).copy()
    for part in parts:
        function(total, part, out=total)
    return total
