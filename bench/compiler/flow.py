"""How rows flow through a chain of operators: what must be kept of each map when its consumers take it row by row.

The last operator makes its output rows in turn. A row is made when all rows under its window are there; each of those
is made, by the same rule, when it is first asked for. So each row is made once, and of a map between two operators only
a window of rows exists at any time: from the first that a consumer will still look at, to the newest.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from bench.compiler.differentiate import Call
from bench.model import graph as g
from bench.model.graph import Graph, Node


@dataclass(frozen=True)
class Flow:
    """What a chain needs.

    `kept`: of each map inside the chain, the most rows that exist at once. `lead`: by how many bytes the chain's input
    must lie above its output, if they share memory, for no row to be written over one that is still to be read.
    """

    kept: dict[str, int]
    lead: int


@dataclass(frozen=True)
class _Stage:
    """An operator as a map of rows: which input rows [first, last) an output row looks at."""

    call: Call
    kernel: int
    stride: int
    pad: int
    in_h: int
    out_h: int

    def first(self, row: int) -> int:
        return max(0, row * self.stride - self.pad) if row < self.out_h else self.in_h

    def last(self, row: int) -> int:
        return min(self.in_h, row * self.stride - self.pad + self.kernel)


def follow(graph: Graph, chain: Sequence[Call], row_bytes: dict[str, int]) -> Flow:
    """Lets the rows flow once.

    Args:
        graph: of the chain's nodes.
        chain: forward calls in order, each read by later ones of the chain alone, except for the last.
        row_bytes: of one row of each map that the chain reads or writes.
    """
    run = _Run([_stage(graph, call) for call in chain])
    last = run.stages[-1]
    source = next((name for name in chain[0].reads.values()), "")
    lead = 0
    for row in range(last.out_h):
        run.prepare(len(chain) - 1, row)
        # An elementwise operator may write where it reads; any other still reads while it writes.
        done = elementwise(last.call) and row_bytes[source] == row_bytes[last.call.writes["y"]]
        dead = run.unread(source, own=row + 1 if done else row) if source else 0
        written = (row + 1) * row_bytes[last.call.writes["y"]]
        lead = max(lead, written - dead * row_bytes.get(source, 0))
        run.made[len(chain) - 1] = row + 1
    return Flow(run.kept, lead)


def elementwise(call: Call) -> bool:
    """Each output depends on one element of each input."""
    return call.kernel == "add"


def row_shape(node: Node) -> tuple[int, int, int]:
    """Of one row of a node's output."""
    return (1, *node.shape[1:])


def _stage(graph: Graph, call: Call) -> _Stage:
    node = call.node
    assert node is not None
    in_h, out_h = graph.shape_of(node.inputs[0])[0], node.shape[0]
    if isinstance(node.op, g.Window):
        return _Stage(call, node.op.kernel[0], node.op.stride[0], node.op.pad[0], in_h, out_h)
    return _Stage(call, 1, 1, 0, in_h, out_h)


@dataclass
class _Run:
    stages: list[_Stage]
    made: list[int] = field(default_factory=list)  # rows, of each stage
    kept: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.made = [0] * len(self.stages)
        self.writer = {stage.call.writes["y"]: index for index, stage in enumerate(self.stages)}

    def prepare(self, index: int, row: int) -> None:
        """Makes the rows that this row of a stage looks at."""
        stage = self.stages[index]
        for name in stage.call.reads.values():
            writer = self.writer.get(name)
            if writer is None:
                continue
            while self.made[writer] < stage.last(row):
                self.prepare(writer, self.made[writer])
                self.made[writer] += 1
                self.kept[name] = max(self.kept.get(name, 0), self.made[writer] - self.unread(name))

    def unread(self, name: str, own: int | None = None) -> int:
        """The first row of a map that some stage will still look at; `own`: the row at which the last stage is."""
        firsts = []
        for index, stage in enumerate(self.stages):
            if name in stage.call.reads.values():
                row = own if own is not None and index == len(self.stages) - 1 else self.made[index]
                firsts.append(stage.first(row))
        return min(firsts)
