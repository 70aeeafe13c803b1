"""Parameter groups: what a scheme may choose of a layer, its bias or the weights of its first input channels."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from bench.compiler.scheme import channel_limit
from bench.model.graph import Graph, Node

SHARES = (8, 4, 2, 1)
"""Of a layer's input channels that a group of weights may have: 1/8, 1/4, 1/2, all."""


@dataclass(frozen=True, order=True)
class Group:
    """A layer's bias (`channels` 0), or the weights of its first `channels` input channels."""

    layer: str
    channels: int

    @property
    def text(self) -> str:
        """As the scheme `list:` names it."""
        return f"{self.layer}.weight[:{self.channels}]" if self.channels else f"{self.layer}.bias"


def groups_of(graph: Graph) -> list[Group]:
    """All groups of a network, layer by layer in order, the smallest first."""
    found = []
    for node in graph.convs:
        limit = channel_limit(graph, node)
        found.append(Group(node.name, 0))
        found += [Group(node.name, channels) for channels in sorted({max(1, limit // share) for share in SHARES})]
    return found


def parameters(graph: Graph, group: Group) -> int:
    """How many parameters a group has."""
    node: Node = graph.node(group.layer)
    assert node.weights is not None
    if group.channels == 0:
        return node.shape[2]
    return node.weights.size // channel_limit(graph, node) * group.channels


def scheme_of(groups: Iterable[Group]) -> str:
    """The scheme that trains these groups and nothing else."""
    return "list:" + ",".join(group.text for group in sorted(groups))
