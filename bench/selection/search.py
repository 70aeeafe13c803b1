"""The subset of greatest gain whose planned SRAM fits the weakest board.

Gains are taken to add up (contribution.py measures each group alone); the memory of a subset is planned, for it does
not add up: what two groups keep for the backward pass may share addresses, or not. M(S) is static data, arena and
stack, as `bench plan` counts them, and the federation's state beside them: the base copy of w* and the error-feedback
residual.

Groups are added by gain per byte as long as they fit; then, as long as that raises the total, one is exchanged: a
layer's choice is changed, whatever no longer fits is dropped, least gain per byte first, and the rest filled up again.
What room is left goes to a part of the next step of a layer that is chosen: between two sizes that were measured, gain
is taken to rise in a line.

The bound that stands beside the result is Dantzig's, of a knapsack whose items may be cut: of the budget, the arena of
the cheapest group is taken off, which no subset undercuts, and a group weighs the bytes of its parameters and their
state alone."""

from __future__ import annotations

import bisect
import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from bench.compiler.compile import arrange_smallest
from bench.compiler.differentiate import Dtype, differentiate
from bench.compiler.scheme import choose
from bench.model.graph import Graph
from bench.model.plan import RESIDUAL_BITS
from bench.selection.groups import Group, parameters, scheme_of

_MULTIPLE = 4
"""Of channels, where a layer has so many: the int8 kernels take four in a word."""
_KINDS = (True, False)  # biases, weights

Subset = frozenset[Group]
"""At most one group of weights and one bias of each layer."""


@dataclass(frozen=True)
class Selection:
    """What was chosen. Bytes are planned, in all; `bound` is a sum of gains that no subset in the budget exceeds."""

    groups: tuple[Group, ...]
    gain: float
    bound: float
    bytes: int
    parameters: int

    @property
    def scheme(self) -> str:
        """As the compiler takes it."""
        return scheme_of(self.groups)


class MemoryModel:
    """Planned bytes of subsets of a network, remembered.

    Args:
        graph: the network.
        dtype: of the program.
        rest: static data and stack that do not depend on what trains: firmware, link buffers.
        federated: count the base copy and the residual of error feedback.
    """

    def __init__(self, graph: Graph, dtype: Dtype, rest: int, *, federated: bool = True) -> None:
        self._graph = graph
        self._dtype = dtype
        self._rest = rest
        self._federated = federated
        self._known: dict[Subset, int] = {}

    def bytes(self, subset: Iterable[Group]) -> int:
        """M(S). An empty subset takes the rest alone."""
        key = frozenset(subset)
        if key not in self._known:
            self._known[key] = self._rest + (self._planned(key) if key else 0)
        return self._known[key]

    def _planned(self, subset: Subset) -> int:
        schedule = differentiate(self._graph, choose(self._graph, scheme_of(subset)), self._dtype)
        peaks = sum(call.peak for call in schedule.calls) if self._dtype == "int8" else 0
        return arrange_smallest(schedule).arena_bytes + self.own_bytes(subset) + 4 * peaks

    def own_bytes(self, subset: Iterable[Group]) -> int:
        """Of the parameters and what is kept for each of them."""
        count = {kind: sum(parameters(self._graph, g) for g in subset if (g.channels == 0) is kind) for kind in _KINDS}
        biases, weights = count[True], count[False]
        if self._dtype == "float32":
            return 4 * (biases + weights) * (3 if self._federated else 1)
        own = 4 * biases + weights + weights * RESIDUAL_BITS["compensated"] // 8
        return own + (federation_bytes(biases, weights) if self._federated else 0)


def federation_bytes(biases: int, weights: int) -> int:
    """Of an int8 client's state between rounds: the base copy as it was sent down, and residuals of error feedback."""
    return (4 * biases + weights) + (4 * biases + 2 * weights)


def search(
    gains: Mapping[Group, float],
    memory: MemoryModel,
    graph: Graph,
    budget: int,
    most: int | None = None,
    step: Callable[[str], None] = lambda _text: None,
) -> Selection:
    """The subset of greatest gain within `budget` bytes and, if given, `most` parameters; empty if none fits."""
    useful = {group: gain for group, gain in gains.items() if gain > 0}
    floor = min((memory.bytes([group]) - memory.own_bytes([group]) for group in useful), default=memory.bytes([]))
    own = {group: max(1, memory.bytes([group]) - floor) for group in useful}
    state = _Search(useful, gains, own, memory, graph, budget, most)
    whole = state.filled(frozenset())
    best = state.topped_up(whole)
    improved = True
    while improved:
        improved = False
        for group in sorted(useful, key=lambda g: -useful[g]):
            if group in whole:
                continue
            trial = state.exchanged(whole, group)
            topped = state.topped_up(trial)
            if state.gain(topped) > state.gain(best) + 1e-12:
                step(f"exchange: {group.text}, gain {state.gain(best):.4f} becomes {state.gain(topped):.4f}")
                whole, best, improved = trial, topped, True
                break
    for group in sorted(best - whole):
        step(f"room left for {group.text}")
    chosen = tuple(sorted(best))
    count = sum(parameters(graph, group) for group in chosen)
    bound = _bound(useful, {group: memory.own_bytes([group]) for group in useful}, budget - floor)
    return Selection(chosen, state.gain(best), bound, memory.bytes(best), count)


@dataclass
class _Search:
    gains: Mapping[Group, float]
    """Of the groups that are worth something; `measured` has the others, too."""
    measured: Mapping[Group, float]
    own: Mapping[Group, int]
    memory: MemoryModel
    graph: Graph
    budget: int
    most: int | None

    def gain(self, subset: Subset) -> float:
        return sum(self._gain(group) for group in subset)

    def _gain(self, group: Group) -> float:
        """As measured, or on the line between the layer's next smaller and next larger size."""
        if group in self.measured:
            return self.measured[group]
        points = self._points(group.layer)
        return float(np.interp(group.channels, [c for c, _ in points], [gain for _, gain in points]))

    def _points(self, layer: str) -> list[tuple[int, float]]:
        """Channels and gain as measured, the smallest first."""
        return sorted((g.channels, gain) for g, gain in self.measured.items() if g.layer == layer and g.channels)

    def fits(self, subset: Subset) -> bool:
        if self.most is not None and sum(parameters(self.graph, group) for group in subset) > self.most:
            return False
        return self.memory.bytes(subset) <= self.budget

    def filled(self, subset: Subset) -> Subset:
        """With what still fits, by gain per byte; a larger group of a layer takes the place of a smaller one."""
        for group in sorted(self.gains, key=lambda g: -self.gains[g] / self.own[g]):
            trial = _with(subset, group)
            if self.gain(trial) > self.gain(subset) and self.fits(trial):
                subset = trial
        return subset

    def exchanged(self, subset: Subset, group: Group) -> Subset:
        """With this group, and without whatever has to go for it; the same subset where it does not fit even alone."""
        trial = _with(subset, group)
        for other in sorted(trial - {group}, key=lambda g: self.gains[g] / self.own[g]):
            if self.fits(trial):
                break
            trial = trial - {other}
        return self.filled(trial) if self.fits(trial) else subset

    def topped_up(self, subset: Subset) -> Subset:
        """With the channels for which there is room, the layers first where another channel is worth most a byte."""
        steps = []
        for layer, had in sorted((group.layer, group.channels) for group in subset if group.channels):
            for (channels, gain), (more, higher) in itertools.pairwise(self._points(layer)):
                if channels == had and higher > gain:
                    bytes_each = self.memory.own_bytes([Group(layer, more)]) / more
                    steps.append(((higher - gain) / (more - had) / bytes_each, layer, had, more))
        for _, layer, had, more in sorted(steps, reverse=True):
            multiple = _MULTIPLE if more >= 2 * _MULTIPLE else 1
            sizes = range(had + multiple - had % multiple, more, multiple)
            fitting = bisect.bisect_left(sizes, True, key=lambda n: not self.fits(_with(subset, Group(layer, n))))
            if fitting:
                subset = _with(subset, Group(layer, sizes[fitting - 1]))
        return subset


def _with(subset: Subset, group: Group) -> Subset:
    """A layer's weights are chosen once: the first n of its channels, with one n."""
    if group.channels == 0:
        return subset | {group}
    return frozenset(g for g in subset if g.layer != group.layer or g.channels == 0) | {group}


def _bound(gains: Mapping[Group, float], own: Mapping[Group, int], room: int) -> float:
    """Of the gain of any subset within `room` bytes."""
    total, left = 0.0, max(0, room)
    for gain, size in sorted(_parts(gains, own), key=lambda part: -part[0] / part[1]):
        take = min(1.0, left / size)
        total += gain * take
        left -= round(size * take)
        if left <= 0:
            break
    return total


def _parts(gains: Mapping[Group, float], own: Mapping[Group, int]) -> Sequence[tuple[float, int]]:
    """Of each layer its bias, and the steps from one size of weights to the next on the upper hull of gain over
    size."""
    parts = [(gains[g], own[g]) for g in gains if g.channels == 0]
    for layer in {g.layer for g in gains if g.channels}:
        points = sorted((own[g], gains[g]) for g in gains if g.layer == layer and g.channels)
        hull = [(0, 0.0)]
        for size, gain in points:
            if gain <= hull[-1][1]:
                continue
            while len(hull) > 1 and _slope(hull[-2], hull[-1]) <= _slope(hull[-1], (size, gain)):
                hull.pop()
            hull.append((size, gain))
        parts += [(b[1] - a[1], max(1, b[0] - a[0])) for a, b in itertools.pairwise(hull)]
    return parts


def _slope(a: tuple[int, float], b: tuple[int, float]) -> float:
    return (b[1] - a[1]) / max(1, b[0] - a[0])
