"""A network as the compiler takes it: convolutions, pools and sums over maps with channels last, and a loss.

Few operators, so that few have to be differentiated. A fully connected layer is a convolution whose kernel covers its
whole input; flattening is free, as maps lie in memory in the order of their weights; a batch normalisation that
cannot be folded is a depthwise 1x1 convolution; a 1-D convolution has height 1. Batch 1: shapes have no batch axis.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from bench.errors import ConfigError

Float = NDArray[np.float32]
Shape = tuple[int, int, int]
"""Height, width, channels."""
Pair = tuple[int, int]
"""Of height, of width."""
Activation = Literal["linear", "relu", "relu6"]
Loss = Literal["softmax_cross_entropy", "mean_squared_error"]

INPUT = "input"
"""What the first nodes read."""

_WORDS = """
alignas alignof and and_eq asm auto bitand bitor bool case catch char char16_t char32_t class compl const const_cast
constexpr continue decltype default delete do double dynamic_cast else enum explicit export extern false float for
friend goto if inline int long main mutable namespace new noexcept not not_eq nullptr operator or or_eq private
protected public register reinterpret_cast return short signed sizeof static static_assert static_cast std struct switch
template this thread_local throw true try typedef typeid typename union unsigned using virtual void volatile wchar_t
while xor xor_eq NULL Arena Params input ftte int8_t int16_t int32_t uint8_t uint16_t uint32_t Conv2dShape PoolShape
UpsampleShape kShape kExponent kLift kShifts kRange kTrainedIn
"""
_RESERVED = frozenset(_WORDS.split())
_PREFIXES = ("d_", "gate_", "saved_", "wide_", "winners_")


def is_reserved(name: str) -> bool:
    """C++ or an emitted program has another use for this name: a node cannot bear it."""
    return name in _RESERVED or name.startswith(_PREFIXES)


@dataclass(frozen=True)
class Window:
    """How a kernel walks over a map. Padding: rows above, columns left; below and right follow from the output size."""

    kernel: Pair
    stride: Pair = (1, 1)
    pad: Pair = (0, 0)

    @property
    def taps(self) -> int:
        """Positions under the kernel."""
        return self.kernel[0] * self.kernel[1]


@dataclass(frozen=True)
class Conv2d(Window):
    """Weights [out_c, kernel_h, kernel_w, in_c / groups], bias [out_c]. Depthwise: groups == in_c == out_c."""

    groups: int = 1


@dataclass(frozen=True)
class MaxPool(Window):
    """The largest under each window; padding never wins."""


@dataclass(frozen=True)
class AvgPool(Window):
    """The sum under each window divided by the kernel's taps, padding counted as zeros."""


@dataclass(frozen=True)
class Add:
    """The sum of two maps of one shape."""


@dataclass(frozen=True)
class Upsample:
    """Each element repeated factor x factor times (nearest neighbour), cut off at the output's shape."""

    factor: int


Op = Conv2d | MaxPool | AvgPool | Add | Upsample


@dataclass(frozen=True, eq=False)
class Node:
    """One operator and what it writes.

    `name` is unique, an identifier in C and in Python; `inputs` name nodes, or INPUT; `shape` is the output's.
    `weights` and `bias` belong to convolutions alone, and only convolutions and sums have another activation than
    linear. `origin` is what the node is called in the file it came from, for messages.
    """

    name: str
    op: Op
    inputs: tuple[str, ...]
    shape: Shape
    activation: Activation = "linear"
    weights: Float | None = None
    bias: Float | None = None
    origin: str = ""

    @property
    def conv(self) -> Conv2d:
        """The operator of a convolution."""
        assert isinstance(self.op, Conv2d)
        return self.op

    @property
    def is_conv(self) -> bool:
        """Has weights."""
        return isinstance(self.op, Conv2d)

    @property
    def size(self) -> int:
        """Elements of the output."""
        return math.prod(self.shape)


@dataclass(frozen=True, eq=False)
class Graph:
    """A network: nodes in an order in which they can be computed; the last one's output goes into the loss.

    Mean squared error compares with the sample itself where output and input have the same number of elements (an
    autoencoder), with the label's one-hot vector otherwise.

    Raises:
        ConfigError: what is not a network, naming the node.
    """

    name: str
    input_shape: Shape
    nodes: tuple[Node, ...]
    loss: Loss = "softmax_cross_entropy"

    def __post_init__(self) -> None:
        known: dict[str, Shape] = {INPUT: self.input_shape}
        if not self.nodes:
            raise ConfigError(f"model {self.name}: has no layers")
        if min(self.input_shape) < 1:
            raise ConfigError(f"model {self.name}: input shape {self.input_shape} has an empty side")
        for node in self.nodes:
            if not node.name.isidentifier() or node.name in known or is_reserved(node.name):
                raise ConfigError(
                    f"model {self.name}: node {node.name!r}: not an identifier, used twice, or a name that emitted "
                    "programs use themselves"
                )
            missing = [name for name in node.inputs if name not in known]
            if missing:
                raise ConfigError(
                    f"model {self.name}: node {node.name} reads {missing[0]!r}, which no node before gives"
                )
            _check(self.name, node, [known[name] for name in node.inputs])
            known[node.name] = node.shape
        if unread := set(known) - {INPUT, self.nodes[-1].name} - {i for node in self.nodes for i in node.inputs}:
            raise ConfigError(f"model {self.name}: nobody reads node {min(unread)}: only the last node may be an end")
        if self.loss == "softmax_cross_entropy" and not 2 <= self.outputs <= 255:
            raise ConfigError(
                f"model {self.name}: {self.outputs} outputs; softmax cross-entropy takes 2 to 255 classes "
                "(for another loss: --loss mean_squared_error)"
            )

    @property
    def outputs(self) -> int:
        """Elements of the last node's output."""
        return self.nodes[-1].size

    @property
    def reconstructs(self) -> bool:
        """The loss compares the output with the sample itself."""
        return self.loss == "mean_squared_error" and self.outputs == math.prod(self.input_shape)

    def node(self, name: str) -> Node:
        """A node by name. Raises KeyError."""
        return self._by_name()[name]

    def shape_of(self, name: str) -> Shape:
        """Shape of a node's output, or of INPUT."""
        return self.input_shape if name == INPUT else self.node(name).shape

    def consumers(self) -> Mapping[str, tuple[Node, ...]]:
        """Who reads each node's output, and INPUT."""
        return {
            name: tuple(node for node in self.nodes if name in node.inputs)
            for name in (INPUT, *(node.name for node in self.nodes))
        }

    @property
    def convs(self) -> tuple[Node, ...]:
        """The nodes that have parameters, in order."""
        return tuple(node for node in self.nodes if node.is_conv)

    @property
    def parameters(self) -> int:
        """Weights and biases."""
        return sum(a.size for node in self.convs for a in (node.weights, node.bias) if a is not None)

    def _by_name(self) -> dict[str, Node]:
        return {node.name: node for node in self.nodes}


def in_channels(graph: Graph, node: Node) -> int:
    """Channels of a node's (first) input."""
    return graph.shape_of(node.inputs[0])[2]


def is_depthwise(graph: Graph, node: Node) -> bool:
    """A convolution with one input and one output channel a group."""
    return node.is_conv and node.conv.groups == in_channels(graph, node) == node.shape[2] and node.conv.groups > 1


def is_dense(graph: Graph, node: Node) -> bool:
    """A convolution whose kernel covers its whole input once: a fully connected layer."""
    covers = node.is_conv and node.conv.kernel == graph.shape_of(node.inputs[0])[:2]
    return covers and node.conv.groups == 1 and node.shape[:2] == (1, 1)


def gives_sums(graph: Graph, node: Node) -> bool:
    """The loss reads this node's sums as they are: the last node, if it is a linear convolution and not depthwise."""
    last = node.name == graph.nodes[-1].name
    return last and node.is_conv and node.activation == "linear" and not is_depthwise(graph, node)


def macs(graph: Graph, node: Node) -> int:
    """Nominal multiply-accumulates: output positions x kernel taps, padding included; 0 for all but convolutions."""
    if not node.is_conv:
        return 0
    return node.size * node.conv.taps * (in_channels(graph, node) // node.conv.groups)


def _check(model: str, node: Node, inputs: list[Shape]) -> None:
    """Raises ConfigError for a node whose shapes do not fit together."""
    problem = _problem(node, inputs)
    if problem:
        label = f"{node.name} ({node.origin})" if node.origin and node.origin != node.name else node.name
        raise ConfigError(f"model {model}: node {label}: {problem}")


def _problem(node: Node, inputs: list[Shape]) -> str:
    if min(node.shape) < 1:
        return f"output shape {node.shape} has an empty side"
    wanted = 2 if isinstance(node.op, Add) else 1
    if len(inputs) != wanted:
        return f"{len(inputs)} inputs, {type(node.op).__name__} takes {wanted}"
    if not isinstance(node.op, Conv2d | Add) and node.activation != "linear":
        return f"{node.activation} on a {type(node.op).__name__}: only convolutions and sums carry an activation"
    if node.is_conv != (node.weights is not None) or node.is_conv != (node.bias is not None):
        return "weights and bias belong to a convolution, both"
    if isinstance(node.op, Add):
        return "" if inputs[0] == inputs[1] == node.shape else f"adds shapes {inputs[0]} and {inputs[1]}"
    if isinstance(node.op, Upsample):
        return _upsample_problem(node, node.op, inputs[0])
    return _window_problem(node, node.op, inputs[0])


def _upsample_problem(node: Node, op: Upsample, source: Shape) -> str:
    fits = all(0 <= source[i] * op.factor - node.shape[i] < op.factor for i in (0, 1)) and source[2] == node.shape[2]
    return "" if fits and op.factor >= 1 else f"shape {source} upsampled {op.factor} times does not give {node.shape}"


def _window_problem(node: Node, op: Window, source: Shape) -> str:
    for axis, side in enumerate(("height", "width")):
        if op.kernel[axis] < 1 or op.stride[axis] < 1 or not 0 <= op.pad[axis] < op.kernel[axis]:
            return f"kernel {op.kernel}, stride {op.stride}, pad {op.pad}: not possible"
        last = (node.shape[axis] - 1) * op.stride[axis] - op.pad[axis]
        if last >= source[axis] or last + op.kernel[axis] - source[axis] >= op.kernel[axis]:
            return f"{side} {source[axis]} does not give {node.shape[axis]} with this window"
    if not isinstance(op, Conv2d):
        return "" if source[2] == node.shape[2] else f"{source[2]} channels become {node.shape[2]}"
    if op.groups < 1 or source[2] % op.groups or node.shape[2] % op.groups:
        return f"{op.groups} groups do not divide {source[2]} and {node.shape[2]} channels"
    assert node.weights is not None
    assert node.bias is not None
    wanted = (node.shape[2], *op.kernel, source[2] // op.groups)
    if node.weights.shape != wanted or node.bias.shape != (node.shape[2],):
        return f"weights {node.weights.shape} and bias {node.bias.shape}; {wanted} and {(node.shape[2],)} fit"
    if not (np.isfinite(node.weights).all() and np.isfinite(node.bias).all()):
        return "weights or biases that are not finite"
    return ""
