"""Fusion: which chains of forward operators are computed row by row, and which outputs overlay their inputs.

A chain fused is one call: its last operator's rows are made one after the other, and of the maps inside only a window
of rows exists (flow.py). Every row is made once, so nothing is computed twice; it costs moving the windows' rows and a
call for each row. It also knows which rows of its input are dead when it writes a row of its output: where the input
dies with the chain, the output may lie over them, `lead` bytes below the input's start.

A chain can be fused if nobody else looks at the maps inside it: no other branch, no gate or weight gradient of the
backward pass. Which ones are, memory decides: the forward calls, in their order, are covered by chains and by calls
alone. What lives during a chain does not depend on how the others are covered, so the cover whose fullest call is
lowest is found by dynamic programming; then, of those that keep below that and below the backward pass, the one that
fuses the fewest operators. A step whose fullest moment lies in the backward pass stays as it is.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from bench.compiler.differentiate import Call, Schedule
from bench.compiler.flow import follow
from bench.compiler.order import moments
from bench.compiler.tasks import tasks_of
from bench.model import graph as g
from bench.model.graph import INPUT

LONGEST = 12
"""Operators in a chain: more do not help, for the windows grow as the maps shrink."""

ROWWISE = ("conv2d", "depthwise2d", "add", "max_pool", "avg_pool")
"""Kernels whose rows can be made one at a time."""


Chain = tuple[str, ...]
"""Names of calls."""


@dataclass(frozen=True)
class _Cover:
    """Of the first forward calls: what it costs, and what is fused."""

    cost: int
    chains: tuple[Chain, ...]


def fuse(schedule: Schedule) -> Schedule:
    """The schedule with chains fused where that lowers its peak."""
    alone = _moments(schedule)
    chains = {chain: _moments(_with(schedule, [chain]))[fused.name] for chain, fused in _candidates(schedule)}
    path = [call.name for call in schedule.calls if call.forward and not call.training]
    outside = max(bytes_ for name, bytes_ in alone.items() if name not in path)
    lowest = _cover(path, alone, chains, None).cost
    return _with(schedule, _cover(path, alone, chains, max(lowest, outside)).chains)


def _cover(path: Sequence[str], alone: Mapping[str, int], chains: Mapping[Chain, int], limit: int | None) -> _Cover:
    """Covers the forward calls with chains and with calls alone, by dynamic programming over where they end.

    Without a limit, so that the fullest call is as low as can be: its bytes are the cost. With one, so that no call is
    above it and the fewest operators are fused: their number is the cost.
    """
    ending: dict[str, list[Chain]] = {}
    for chain in chains:
        ending.setdefault(chain[-1], []).append(chain)
    best: list[_Cover | None] = [_Cover(0, ())]
    for end, name in enumerate(path, start=1):
        ways = []
        steps = [(1, alone[name], ()), *((len(chain), chains[chain], (chain,)) for chain in ending.get(name, []))]
        for length, moment, fused in steps:
            before = best[end - length]
            if before is None or (limit is not None and moment > limit):
                continue
            cost = max(before.cost, moment) if limit is None else before.cost + length * len(fused)
            ways.append(_Cover(cost, before.chains + fused))
        best.append(min(ways, key=lambda way: way.cost, default=None))
    found = best[-1]
    assert found is not None, "a limit is one that a cover without limit has met"
    return found


def _moments(schedule: Schedule) -> dict[str, int]:
    """Bytes that live at each call."""
    tasks, sizes = tasks_of(schedule)
    return {task.name: bytes_ for task, bytes_ in zip(tasks, moments(tasks, sizes), strict=True)}


# --- chains ---


def _candidates(schedule: Schedule) -> Iterator[tuple[Chain, Call]]:
    """Chains that could be fused, with the call that each would become."""
    for chain in _chains(schedule):
        fused = _fused(schedule, chain)
        if fused is not None:
            yield chain, fused


def _chains(schedule: Schedule) -> Iterator[Chain]:
    """Names of calls whose rows can flow through, in order. One call alone may overlay its input."""
    calls = [call for call in schedule.calls if call.forward and not call.training]
    readers = Counter(name for call in schedule.calls for name in call.reads.values())
    for start, first in enumerate(calls):
        if not _fusable(schedule, first) or first.kernel == "add":
            continue
        inside: set[str] = set()
        source = first.reads.get("x", "")
        for end in range(start, min(start + LONGEST, len(calls))):
            call = calls[end]
            if not _fusable(schedule, call) or not _reads_only(call, inside, source):
                break
            yield tuple(member.name for member in calls[start : end + 1])
            inside.add(call.writes["y"])
            if readers[call.writes["y"]] != 1 or len(call.writes) > 1:
                break


def _reads_only(call: Call, inside: set[str], source: str) -> bool:
    """The chain's input, and maps inside it of which at least one feeds each operator but the first."""
    read = set(call.reads.values())
    return read <= inside | {source} and (not inside or bool(read & inside))


def _fusable(schedule: Schedule, call: Call) -> bool:
    """Whether rows of this operator can be made one at a time."""
    node = call.node
    if call.kernel not in ROWWISE or node is None or node.shape[0] < 2:
        return False
    if "winners" in call.writes:
        assert isinstance(node.op, g.MaxPool)
        bits = schedule.values[call.writes["winners"]].bytes * 8
        return bits == 8 * (bits // node.shape[0] // 8) * node.shape[0]  # a row's bits are whole bytes
    return True


# --- fused calls ---


def _with(schedule: Schedule, chains: Sequence[Chain]) -> Schedule:
    """The schedule with these chains fused."""
    if not chains:
        return schedule
    fused = {chain[-1]: call for chain in chains if (call := _fused(schedule, chain)) is not None}
    gone = {name for chain in chains for name in chain if chain[-1] in fused}
    calls = tuple(fused.get(call.name, call) for call in schedule.calls if call.name in fused or call.name not in gone)
    inside = {name for call in fused.values() for name in call.windows}
    values = {name: value for name, value in schedule.values.items() if name not in inside}
    return dataclasses.replace(schedule, calls=calls, values=values)


def _fused(schedule: Schedule, chain: Sequence[str]) -> Call | None:
    """One call for a chain, or None where that gains nothing: an operator alone that cannot overlay its input."""
    by_name = {call.name: call for call in schedule.calls}
    stages = tuple(by_name[name] for name in chain)
    first, last = stages[0], stages[-1]
    source, target = first.reads.get("x", ""), last.writes["y"]
    inside = [call.writes["y"] for call in stages[:-1]]
    row_bytes = {name: _row_bytes(schedule, name) for name in {source, target, *inside}}
    flow = follow(schedule.graph, stages, row_bytes)
    overlay = None
    if schedule.values[target].bytes <= schedule.values[source].bytes:
        overlay = (target, source, _rounded(flow.lead))
    if overlay is None and len(stages) == 1:
        return None
    windows = {name: _rounded(flow.kept[name] * row_bytes[name]) for name in inside}
    # Only the last may write something beside its map: what a max-pool's windows chose.
    writes = dict(last.writes)
    return Call(
        f"rows:{','.join(call.layer for call in stages)}",
        "rows",
        last.node,
        {"x": source},
        writes,
        forward=True,
        scratch=sum(windows.values()) + max(_rounded(call.scratch) for call in stages),
        macs=sum(call.macs for call in stages),
        stages=stages,
        windows=windows,
        overlay=overlay,
    )


def _row_bytes(schedule: Schedule, name: str) -> int:
    height = schedule.graph.input_shape[0] if name == INPUT else schedule.graph.node(name).shape[0]
    return schedule.values[name].bytes // height


def _rounded(size: int) -> int:
    return -(-size // 4) * 4
