"""A network's loss as a function of its parameters, written in jax: the reference for forward passes and gradients.

Shares nothing with the compiler or with bench.model.evaluate but the network's description. In double precision.
At the corners of an activation the derivative is 0, as the engine has it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from bench.model.graph import INPUT, Add, AvgPool, Conv2d, Graph, MaxPool, Node, Upsample, Window

Array = NDArray[Any]
Parameters = Mapping[str, tuple[Any, Any]]
"""Weights and bias of every convolution, by node name."""


def outputs(graph: Graph, sample: Array, params: Parameters) -> dict[str, Array]:
    """What every node writes for a sample [h, w, c], [h, w, c] each."""
    with jax.enable_x64(True):
        maps = _compiled(graph, "maps")(params, np.asarray(sample, np.float64))
        return {name: np.asarray(value) for name, value in maps.items()}


def loss(graph: Graph) -> Callable[[Parameters, Any, int], Any]:
    """`loss(params, sample, label)`, to be differentiated by jax."""

    def function(params: Parameters, sample: Any, label: int) -> Any:
        return _loss(graph, params, jnp.asarray(sample), label, {})

    return function


def gradients(
    graph: Graph, sample: Array, label: int, params: Parameters
) -> tuple[float, dict[str, tuple[Array, Array]]]:
    """The loss of a sample [h, w, c], and its derivatives by weights and bias of every convolution."""
    with jax.enable_x64(True):
        value, found = _compiled(graph, "gradients")(params, np.asarray(sample, np.float64), label)
        return float(value), {name: (np.asarray(dw), np.asarray(db)) for name, (dw, db) in found.items()}


def map_gradients(graph: Graph, sample: Array, label: int, params: Parameters) -> dict[str, Array]:
    """The loss's derivatives by every node's output (after its activation) and by INPUT, [h, w, c]."""
    with jax.enable_x64(True):
        shifts = {name: np.zeros(graph.shape_of(name)) for name in (INPUT, *(node.name for node in graph.nodes))}
        found = _compiled(graph, "map_gradients")(shifts, params, np.asarray(sample, np.float64), label)
        return {name: np.asarray(value) for name, value in found.items()}


@lru_cache(maxsize=16)
def _compiled(graph: Graph, what: str) -> Any:
    """Compiled once for a network."""
    if what == "maps":
        return jax.jit(lambda params, sample: _maps(graph, params, sample, {}))
    if what == "gradients":
        return jax.jit(jax.value_and_grad(loss(graph)))
    return jax.jit(jax.grad(lambda shifts, params, sample, label: _loss(graph, params, sample, label, shifts)))


def _loss(graph: Graph, params: Parameters, sample: Any, label: int, shifts: Mapping[str, Any]) -> Any:
    y = _maps(graph, params, sample, shifts)[graph.nodes[-1].name].ravel()
    if graph.loss == "softmax_cross_entropy":
        return jax.nn.logsumexp(y) - y[label]
    target = sample.ravel() if graph.reconstructs else jax.nn.one_hot(label, y.size, dtype=y.dtype)
    return jnp.mean((y - target) ** 2)


def _maps(graph: Graph, params: Parameters, sample: Any, shifts: Mapping[str, Any]) -> dict[str, Any]:
    """All outputs; `shifts` are added to them, so that they can be differentiated by."""
    maps = {INPUT: sample + shifts.get(INPUT, 0.0)}
    for node in graph.nodes:
        y = _node(node, [maps[name] for name in node.inputs], params)
        if node.activation != "linear":
            y = jnp.where(y > 0, y, 0.0)
        if node.activation == "relu6":
            y = jnp.where(y < 6, y, 6.0)
        maps[node.name] = y + shifts.get(node.name, 0.0)
    del maps[INPUT]
    return maps


def _node(node: Node, inputs: list[Any], params: Parameters) -> Any:
    x, op = inputs[0], node.op
    if isinstance(op, Add):
        return x + inputs[1]
    if isinstance(op, Upsample):
        height, width, _ = node.shape
        return x[jnp.arange(height) // op.factor][:, jnp.arange(width) // op.factor]
    # What no window reaches is cut off: XLA's compiler aborts at windows of one element with negative padding.
    x = x[tuple(slice(_reach(op, node.shape, axis)) for axis in (0, 1))]
    padding = [(op.pad[axis], max(0, _reach(op, node.shape, axis) - x.shape[axis])) for axis in (0, 1)]
    if isinstance(op, Conv2d):
        weights, bias = params[node.name]
        y = jax.lax.conv_general_dilated(
            x[None],
            jnp.asarray(weights),
            window_strides=op.stride,
            padding=padding,
            dimension_numbers=("NHWC", "OHWI", "NHWC"),
            feature_group_count=op.groups,
            precision="highest",
        )
        return y[0] + jnp.asarray(bias)
    window = {"window_dimensions": (*op.kernel, 1), "window_strides": (*op.stride, 1), "padding": [*padding, (0, 0)]}
    if isinstance(op, MaxPool):
        return jax.lax.reduce_window(x, -jnp.inf, jax.lax.max, **window)
    assert isinstance(op, AvgPool)
    return jax.lax.reduce_window(x, 0.0, jax.lax.add, **window) / (op.kernel[0] * op.kernel[1])


def _reach(op: Window, out: tuple[int, ...], axis: int) -> int:
    """How many rows or columns of the map, padding behind it included, the windows cover."""
    return (out[axis] - 1) * op.stride[axis] + op.kernel[axis] - op.pad[axis]
