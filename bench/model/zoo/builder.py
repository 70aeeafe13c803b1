"""Builds a network layer by layer: infers shapes, names nodes, draws weights.

Weights are normal with variance gain / fan_in (He et al. 2015, arXiv:1502.01852): gain 2 in front of a ReLU, 1 in
front of nothing. Of the taps, fan_in counts those that lie on the map and not on its padding, on average over the
output: in a network that ends in 5x5 kernels on 4x4 maps the signal would fade away otherwise. Biases are zero. All
draws come from one generator in the order of the layers, so that a seed gives the same network everywhere.
"""

from __future__ import annotations

import math
from typing import Literal

import numpy as np

from bench.errors import ConfigError
from bench.model.graph import (
    INPUT,
    Activation,
    Add,
    AvgPool,
    Conv2d,
    Float,
    Graph,
    Loss,
    MaxPool,
    Node,
    Op,
    Pair,
    Shape,
    Window,
)

Padding = Literal["same", "valid"] | int
"""TensorFlow's `same` (output = input / stride rounded up, the odd row below and to the right) or `valid` (none), or a
number of rows on each of the four sides, as PyTorch has it."""


class Builder:
    """A network in the making. Each method adds a node behind the last one, or behind `source`, and returns its name.

    Names count the layers of a kind together: conv1, dw2, conv3 and fc4 are the first to the fourth with parameters.
    """

    def __init__(self, name: str, input_shape: Shape, seed: int) -> None:
        self._name = name
        self._input_shape = input_shape
        self._shapes: dict[str, Shape] = {INPUT: input_shape}
        self._nodes: list[Node] = []
        self._counts = {"layer": 0, "pool": 0, "add": 0}
        self._random = np.random.default_rng([seed, *name.encode()])  # no other draw's stream, samples' least of all

    @property
    def last(self) -> str:
        """The node added last, or INPUT."""
        return self._nodes[-1].name if self._nodes else INPUT

    def shape(self, name: str) -> Shape:
        """Shape of a node's output."""
        return self._shapes[name]

    def conv(
        self,
        channels: int,
        kernel: int | Pair,
        *,
        stride: int | Pair = 1,
        pad: Padding = "same",
        activation: Activation = "relu",
        gain: float = 1.0,
        source: str | None = None,
        name: str | None = None,
    ) -> str:
        """A convolution. `gain` scales its weights further: below 1 at the end of a residual branch."""
        origin = self.last if source is None else source
        window, out = self._window(origin, kernel, stride, pad)
        op = Conv2d(window.kernel, window.stride, window.pad)
        return self._layer(self._label("conv", name), op, origin, (*out, channels), activation, gain)

    def depthwise(
        self,
        kernel: int | Pair,
        *,
        stride: int | Pair = 1,
        pad: Padding = "same",
        activation: Activation = "relu",
        name: str | None = None,
    ) -> str:
        """A depthwise convolution: one kernel for each channel."""
        channels = self.shape(self.last)[2]
        window, out = self._window(self.last, kernel, stride, pad)
        op = Conv2d(window.kernel, window.stride, window.pad, groups=channels)
        return self._layer(self._label("dw", name), op, self.last, (*out, channels), activation)

    def dense(self, units: int, *, activation: Activation = "relu", name: str | None = None) -> str:
        """A fully connected layer: a convolution whose kernel covers the whole map."""
        op = Conv2d(self.shape(self.last)[:2])
        return self._layer(self._label("fc", name), op, self.last, (1, 1, units), activation)

    def max_pool(self, kernel: int | Pair, *, stride: int | Pair | None = None, pad: Padding = "valid") -> str:
        """The largest of each window; windows side by side unless `stride` says otherwise."""
        window, out = self._window(self.last, kernel, kernel if stride is None else stride, pad)
        op = MaxPool(window.kernel, window.stride, window.pad)
        return self._node(self._label("pool"), op, (self.last,), (*out, self.shape(self.last)[2]))

    def global_average(self, *, name: str | None = None) -> str:
        """The mean of each channel."""
        height, width, channels = self.shape(self.last)
        op = AvgPool((height, width), (height, width))
        return self._node(self._label("pool", name), op, (self.last,), (1, 1, channels))

    def add(self, a: str, b: str, *, activation: Activation = "linear", name: str | None = None) -> str:
        """The sum of two nodes."""
        return self._node(self._label("add", name), Add(), (a, b), self.shape(a), activation)

    def graph(self, loss: Loss = "softmax_cross_entropy") -> Graph:
        """The network. Raises ConfigError where it is none."""
        return Graph(self._name, self._input_shape, tuple(self._nodes), loss)

    def _layer(
        self, name: str, op: Conv2d, source: str, shape: Shape, activation: Activation, gain: float = 1.0
    ) -> str:
        if shape[2] < 1:
            raise ConfigError(f"model {self._name}: {shape[2]} outputs of layer {name}: at least 1")
        size = self.shape(source)
        taps = math.prod(_taps_on_map(size[i], shape[i], op.kernel[i], op.stride[i], op.pad[i]) for i in (0, 1))
        group_in = size[2] // op.groups
        deviation = gain * math.sqrt((1.0 if activation == "linear" else 2.0) / (taps * group_in))
        weights = (deviation * self._random.standard_normal((shape[2], *op.kernel, group_in))).astype(np.float32)
        bias = np.zeros(shape[2], np.float32)
        return self._node(name, op, (source,), shape, activation, weights, bias)

    def _label(self, kind: str, name: str | None = None) -> str:
        """`name`, or the next of its kind; all kinds with parameters are counted together."""
        counted = kind if kind in ("pool", "add") else "layer"
        self._counts[counted] += 1
        return name or f"{kind}{self._counts[counted]}"

    def _window(self, source: str, kernel: int | Pair, stride: int | Pair, pad: Padding) -> tuple[Window, Pair]:
        """How the kernel walks, and the output's height and width."""
        k, s, size = _pair(kernel), _pair(stride), self.shape(source)
        rows, columns = (_extent(size[axis], k[axis], s[axis], pad) for axis in (0, 1))
        if min(rows[0], columns[0]) < 1:
            raise ConfigError(
                f"model {self._name}: an input of {'x'.join(map(str, self._input_shape))} is too small: a "
                f"{k[0]}x{k[1]} window does not fit into what is left of it ({size[0]}x{size[1]}); use a larger input"
            )
        return Window(k, s, (rows[1], columns[1])), (rows[0], columns[0])

    def _node(
        self,
        name: str,
        op: Op,
        inputs: tuple[str, ...],
        shape: Shape,
        activation: Activation = "linear",
        weights: Float | None = None,
        bias: Float | None = None,
    ) -> str:
        self._nodes.append(Node(name, op, inputs, shape, activation, weights, bias))
        self._shapes[name] = shape
        return name


def _pair(value: int | Pair) -> Pair:
    return (value, value) if isinstance(value, int) else value


def _extent(size: int, kernel: int, stride: int, pad: Padding) -> tuple[int, int]:
    """Output size along one axis, and padding in front."""
    if pad == "same":
        out = -(-size // stride)
        return out, max(0, (out - 1) * stride + kernel - size) // 2
    rows = 0 if pad == "valid" else pad
    return (size + 2 * rows - kernel) // stride + 1, rows


def _taps_on_map(size: int, out: int, kernel: int, stride: int, pad: int) -> float:
    """Along one axis: how many of a kernel's taps lie on the map, on average."""
    starts = [position * stride - pad for position in range(out)]
    return sum(min(start + kernel, size) - max(start, 0) for start in starts) / out
