"""Kernel calls as C++: what both number formats share, and the names that emitted sources use.

A layer is a type with its shape and tables, which kernels that are made for one layer take as template argument; a
value in the arena is `Arena::NAME`, a tensor of the parameters `Params::NAME`, both offsets in bytes. `at` and `words`
make pointers of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from bench.compiler.arrange import Arranged
from bench.compiler.differentiate import Call, trained_rows
from bench.compiler.layout import Layout
from bench.model import graph as g
from bench.model.graph import Graph, Node
from bench.model.plan import Tensor


@dataclass(frozen=True)
class Emission:
    """Everything that a kernel call's text is made from."""

    arranged: Arranged
    layout: Layout
    batch: int

    @property
    def graph(self) -> Graph:
        """The network."""
        return self.arranged.schedule.graph

    def trained(self, node: Node, what: str) -> Tensor | None:
        """A layer's trained `weight` or `bias`, or None."""
        return self.layout.tensor(f"{node.name}.{what}")

    def rows(self, node: Node) -> int:
        """Trained input channels of a group, or of a depthwise layer."""
        trained = self.arranged.schedule.chosen.get(node.name)
        return 0 if trained is None else trained_rows(self.graph, node, trained)

    def x_channels(self, node: Node) -> int:
        """Channels of the map that a weight gradient reads: all, or those that were saved."""
        sliced = f"saved_{node.name}" in self.arranged.schedule.values
        return self.rows(node) if sliced else g.in_channels(self.graph, node)

    def stream(self, call: Call) -> int:
        """A number of its own for the random numbers of each update, the same however calls are fused."""
        return [part.name for c in self.arranged.schedule.calls for part in c.parts].index(call.name)


@dataclass(frozen=True)
class Operands:
    """C++ of what a forward kernel works on: whole maps in the arena, or the rows of them that are at hand.

    `elements`: of the output. `maps`: pointers by role.
    """

    shape: str
    elements: int
    maps: Mapping[str, str]
    scratch: str


def whole(emission: Emission, call: Call, *, infer: bool) -> Operands:
    """The operands of a call by itself."""
    node = call.node
    assert node is not None
    maps = {role: value(name) for role, name in (*call.reads.items(), *call.writes.items())}
    if "winners" in call.writes:
        maps["winners"] = "nullptr" if infer else f"bits(arena, Arena::{call.writes['winners']})"
    return Operands(f"{layer(node)}::kShape", node.size, maps, scratch(emission, call))


def identifier(name: str) -> str:
    """A tensor's name in C++."""
    return name.replace(".", "_")


def pool_shape(graph: Graph, node: Node) -> str:
    """Fields of PoolShape."""
    assert isinstance(node.op, g.Window)
    height, width, channels = graph.shape_of(node.inputs[0])
    out = node.shape
    fields = (height, width, channels, out[0], out[1], *node.op.kernel, *node.op.stride, *node.op.pad)
    return f"PoolShape kShape{{{', '.join(map(str, fields))}}}"


def conv_shape(graph: Graph, node: Node) -> str:
    """Fields of Conv2dShape."""
    op = node.conv
    fields = (*graph.shape_of(node.inputs[0]), *node.shape, *op.kernel, *op.stride, *op.pad, op.groups)
    return f"Conv2dShape kShape{{{', '.join(map(str, fields))}}}"


def upsample_shape(graph: Graph, node: Node) -> str:
    """Fields of UpsampleShape."""
    assert isinstance(node.op, g.Upsample)
    fields = (*graph.shape_of(node.inputs[0]), *node.shape[:2], node.op.factor)
    return f"UpsampleShape kShape{{{', '.join(map(str, fields))}}}"


def shape_of(graph: Graph, node: Node) -> str | None:
    """The declaration of a layer's shape; None for sums."""
    if node.is_conv:
        return conv_shape(graph, node)
    if isinstance(node.op, g.Upsample):
        return upsample_shape(graph, node)
    return None if isinstance(node.op, g.Add) else pool_shape(graph, node)


def describe(graph: Graph, node: Node) -> str:
    """A layer in words, for comments and tables."""
    size = "x".join(map(str, node.shape))
    name = type(node.op).__name__.lower()
    if isinstance(node.op, g.Window):
        name = f"{node.op.kernel[0]}x{node.op.kernel[1]} {name}"
    if node.is_conv and g.is_depthwise(graph, node):
        name = f"{node.conv.kernel[0]}x{node.conv.kernel[1]} depthwise"
    elif node.is_conv and g.is_dense(graph, node):
        name = "dense"
    tail = "" if node.activation == "linear" else f" {node.activation}"
    return f"{name}{tail} -> {size}"


def weights_argument(emission: Emission, node: Node, element: str) -> str:
    """The trained and the frozen part of a layer's weights."""
    rows = emission.rows(node)
    trained = f"at(params, Params::{node.name}_weight)" if rows else "nullptr"
    frozen = f"tables::{node.name}_weight" if f"{node.name}_weight" in emission.layout.tables else "nullptr"
    return f"Weights<{element}>{{{trained}, {frozen}, {rows}}}"


def bias_argument(emission: Emission, node: Node) -> str:
    """A layer's bias, in RAM if it trains."""
    if emission.trained(node, "bias") is not None:
        return f"words(params, Params::{node.name}_bias)"
    return f"tables::{node.name}_bias"


def layer(node: Node) -> str:
    """The type with a layer's shape and tables."""
    return f"layer::{node.name}"


def value(name: str) -> str:
    """A map in the arena."""
    return f"at(arena, Arena::{name})"


def scratch(emission: Emission, call: Call) -> str:
    """A call's scratch in the arena, or none."""
    return f"at(arena, {emission.arranged.scratch[call.name]})" if call.scratch else "nullptr"


def gate(call: Call) -> str:
    """The bits that let a gradient pass, or none."""
    return f"bits(arena, Arena::{call.reads['gate']})" if "gate" in call.reads else "nullptr"
