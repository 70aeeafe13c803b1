"""Adapters: small trained layers beside frozen ones. Their last convolution is zero at first: nothing changes yet.

low-rank-R (LoRA, Hu et al. 2021, arXiv:2106.09685), for dense layers and 1x1 convolutions but the last layer, which
trains anyway:

    x ──┬─ layer, linear ────────────────┬─ sum, with the layer's activation
        └─ A: layer's kernel, R outputs ── B: 1x1, zero ─┘

lite-residual (TinyTL, Cai et al. 2020, arXiv:2007.11622), for residual blocks and depthwise-separable or inverted
blocks; in a network without any, for each convolution of a map of at least 4x4 that is not a fully connected layer:

    x ──┬─ block ──────────────────────────────────────────────────────────────────────────┬─ sum
        └─ average pool 2x2 ── 3x3 in groups, ReLU ── 1x1, zero ── each element 2x2 times ─────┘

As in TinyTL's code the branch has the block's input channels, rounded up to a multiple of 8, in the middle. Its 3x3
convolution has as many groups as divide the channels, up to 8, where TinyTL has 2: at 64 channels that is a quarter of
the weights, and RAM for trained weights is what is short here.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass

import numpy as np

from bench.compiler.scheme import LITE_CONV, LITE_OUT, LOW_RANK_A, LOW_RANK_B, split_scheme
from bench.errors import ConfigError
from bench.model import graph as g
from bench.model.graph import INPUT, Add, AvgPool, Conv2d, Float, Graph, Node, Shape, Upsample

SEED = 0
"""Of the adapters' weights: a scheme always gives the same network."""

_SUM = "_sum"
_LITE_POOL = "_lite_pool"
_LITE_UP = "_lite_up"
_LEAST_SIDE = 4
"""A smaller map has nothing left after pooling that a 3x3 kernel could look at."""
_MIDDLE_MULTIPLE = 8
"""Of channels in the middle of a lite residual branch; and the most groups that it has."""


@dataclass(frozen=True)
class _Block:
    """Nodes between one input and one output, which a branch goes around."""

    source: str
    output: Node


def insert(graph: Graph, scheme: str) -> Graph:
    """The network with the adapters of a scheme; the network itself where the scheme has none.

    It computes what the network computes. Nodes keep their names; what is inserted has a suffix. An activation in front
    of an inserted sum moves behind it.

    Raises:
        ConfigError: the network has no place for such adapters.
    """
    adapter, _ = split_scheme(scheme)
    if adapter is None:
        return graph
    if adapter == "lite-residual":
        return _insert_lite(graph)
    return _insert_low_rank(graph, int(adapter.removeprefix("low-rank-")))


class _Rewriter:
    """Copies a graph node by node; `replaced` says who is read in place of whom from here on."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._nodes: list[Node] = []
        self._replaced: dict[str, str] = {}
        self._random = np.random.default_rng([SEED, *graph.name.encode(), *b"adapters"])

    def reading(self, name: str) -> str:
        """What now stands for a node of the old graph."""
        return self._replaced.get(name, name)

    def copy(self, node: Node) -> Node:
        """The node as it was, reading what stands for its inputs."""
        copied = dataclasses.replace(node, inputs=tuple(self.reading(name) for name in node.inputs))
        self._nodes.append(copied)
        return copied

    def conv(
        self, name: str, source: str, op: Conv2d, in_channels: int, shape: Shape, *, relu: bool, zero: bool
    ) -> str:
        """A convolution with He's normal weights (builder.py), or with none but zeros."""
        wanted = (shape[2], *op.kernel, in_channels // op.groups)
        deviation = 0.0 if zero else math.sqrt((2.0 if relu else 1.0) / math.prod(wanted[1:]))
        weights: Float = (deviation * self._random.standard_normal(wanted)).astype(np.float32)
        bias = np.zeros(shape[2], np.float32)
        return self.node(Node(name, op, (source,), shape, "relu" if relu else "linear", weights, bias))

    def node(self, node: Node) -> str:
        """Adds a node and returns its name."""
        self._nodes.append(node)
        return node.name

    def join(self, name: str, branch: str) -> None:
        """The sum of a copied node (a convolution or a sum) and of `branch` takes its place and its activation."""
        index = next(i for i, node in enumerate(self._nodes) if node.name == name)
        main = self._nodes[index]
        self._nodes[index] = dataclasses.replace(main, activation="linear")
        self._replaced[name] = self.node(Node(name + _SUM, Add(), (name, branch), main.shape, main.activation))

    def finish(self) -> Graph:
        """The new graph."""
        return dataclasses.replace(self._graph, nodes=tuple(self._nodes))


# --- low rank ---


def _insert_low_rank(graph: Graph, rank: int) -> Graph:
    places = {node.name for node in graph.convs if _takes_low_rank(graph, node, rank)}
    if not places:
        raise ConfigError(
            f"scheme low-rank-{rank}: model {graph.name} has no dense layer or 1x1 convolution, the last layer aside, "
            f"in which a product of rank {rank} would have fewer weights than the layer: take a lower rank, or sparse-P"
        )
    rewriter = _Rewriter(graph)
    for node in graph.nodes:
        main = rewriter.copy(node)
        if node.name in places:
            channels, narrow = g.in_channels(graph, node), (*node.shape[:2], rank)
            a = rewriter.conv(
                node.name + LOW_RANK_A, main.inputs[0], node.conv, channels, narrow, relu=False, zero=False
            )
            b = rewriter.conv(node.name + LOW_RANK_B, a, Conv2d((1, 1)), rank, node.shape, relu=False, zero=True)
            rewriter.join(node.name, b)
    return rewriter.finish()


def _takes_low_rank(graph: Graph, node: Node, rank: int) -> bool:
    """A dense layer or 1x1 convolution that is larger than its adapter."""
    assert node.weights is not None
    if node.conv.groups > 1 or node is graph.convs[-1]:
        return False
    if not g.is_dense(graph, node) and node.conv.kernel != (1, 1):
        return False
    outputs = node.shape[2]
    return rank * (node.weights.size // outputs + outputs) < node.weights.size


# --- lite residual ---


def _insert_lite(graph: Graph) -> Graph:
    blocks = [block for block in _blocks(graph) if _has_room(graph, block)]
    if not blocks:
        blocks = [block for block in _plain_blocks(graph) if _has_room(graph, block)]
    if not blocks:
        raise ConfigError(
            f"scheme lite-residual: model {graph.name} has no block or convolution of a map of at least "
            f"{_LEAST_SIDE}x{_LEAST_SIDE}: use low-rank-R, or bias"
        )
    by_output = {block.output.name: block for block in blocks}
    rewriter = _Rewriter(graph)
    for node in graph.nodes:
        rewriter.copy(node)
        if node.name in by_output:
            rewriter.join(node.name, _branch(graph, rewriter, by_output[node.name]))
    return rewriter.finish()


def _branch(graph: Graph, rewriter: _Rewriter, block: _Block) -> str:
    """Adds the nodes of a lite residual branch; returns the last."""
    name, source, out = block.output.name, graph.shape_of(block.source), block.output.shape
    pooled = (_half(source[0]), _half(source[1]), source[2])
    pool = rewriter.node(Node(name + _LITE_POOL, AvgPool((2, 2), (2, 2)), (rewriter.reading(block.source),), pooled))
    middle = -(-source[2] // _MIDDLE_MULTIPLE) * _MIDDLE_MULTIPLE
    small = (_half(out[0]), _half(out[1]))
    axes = [_stride_and_pad(pooled[axis], small[axis]) for axis in (0, 1)]
    op = Conv2d(
        (3, 3), (axes[0][0], axes[1][0]), (axes[0][1], axes[1][1]), groups=math.gcd(source[2], _MIDDLE_MULTIPLE)
    )
    conv = rewriter.conv(name + LITE_CONV, pool, op, source[2], (*small, middle), relu=True, zero=False)
    last = rewriter.conv(name + LITE_OUT, conv, Conv2d((1, 1)), middle, (*small, out[2]), relu=False, zero=True)
    return rewriter.node(Node(name + _LITE_UP, Upsample(2), (last,), out))


def _stride_and_pad(size: int, out: int) -> tuple[int, int]:
    """Of a 3x3 window that makes `out` positions of `size`, its centres spread evenly."""
    stride = max(1, round(size / out))
    return stride, min(2, max(0, (out - 1) * stride + 3 - size) // 2)


def _half(size: int) -> int:
    return -(-size // 2)


def _has_room(graph: Graph, block: _Block) -> bool:
    source, out = graph.shape_of(block.source), block.output.shape
    return min(source[:2]) >= _LEAST_SIDE and min(out[:2]) >= 2


def _blocks(graph: Graph) -> list[_Block]:
    """Residual blocks, and depthwise-separable or inverted blocks that no residual block contains, in order."""
    inside: set[str] = set()
    blocks = []
    for node in graph.nodes:
        if isinstance(node.op, Add):
            source, members = _residual_members(graph, node)
            inside |= members
            blocks.append(_Block(source, node))
    for node in graph.convs:
        if node.name in inside:
            continue
        chain = _separable(graph, node)
        if chain and not inside & {member.name for member in chain}:
            inside |= {member.name for member in chain}
            blocks.append(_Block(node.inputs[0], chain[-1]))
    return blocks


def _residual_members(graph: Graph, add: Node) -> tuple[str, set[str]]:
    """Where the two branches of a sum come from, and the nodes between there and the sum.

    The source is the last node that both branches pass through: going backwards in order, always through the later of
    the open ends, until only one is open.
    """
    order = {INPUT: -1, **{node.name: index for index, node in enumerate(graph.nodes)}}
    members, ends = {add.name}, set(add.inputs)
    while len(ends) > 1:
        latest = max(ends, key=order.__getitem__)
        members.add(latest)
        ends = (ends - {latest}) | set(graph.node(latest).inputs)
    return ends.pop(), members


def _separable(graph: Graph, first: Node) -> list[Node]:
    """[1x1,] depthwise, 1x1 from `first` on; empty if that is not what stands there."""
    consumers = graph.consumers()
    chain = [first]
    while len(chain) < 3 and len(consumers[chain[-1].name]) == 1 and consumers[chain[-1].name][0].is_conv:
        chain.append(consumers[chain[-1].name][0])
    kinds = [_kind(graph, node) for node in chain]
    if kinds[:3] == ["1x1", "depthwise", "1x1"]:
        return chain
    return chain[:2] if kinds[:2] == ["depthwise", "1x1"] else []


def _kind(graph: Graph, node: Node) -> str:
    if g.is_depthwise(graph, node):
        return "depthwise"
    return "1x1" if node.conv.kernel == (1, 1) else "other"


def _plain_blocks(graph: Graph) -> list[_Block]:
    return [_Block(node.inputs[0], node) for node in graph.convs if not g.is_dense(graph, node)]
