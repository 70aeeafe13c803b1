"""Addresses for blocks whose lifetimes are known: two that live at the same step never share a byte.

This is dynamic storage allocation, NP-hard in general, and close to its lower bound in practice. How it is done:

1. Every order of the blocks gives a placement: each block in turn goes to the lowest gap between the placed blocks
   that it lives with (first fit), or to the tightest (best fit, as TFLM's greedy memory planner does). Some order gives
   an optimal placement by first fit: that by the addresses of any optimal one.
2. Several orders are tried, each good for another kind of lifetimes: `contention` (how much lives at the worst step of
   a block's life) before lifetime and size, as TelaMalloc (ASPLOS 2023) and MiniMalloc (ASPLOS 2024) do; size; size x
   lifetime; lifetime, which is optimal for nested lives, as activations saved for a backward pass have them; number
   and bytes of conflicting blocks; beginning; end; and the canonical order of MiniMalloc: next comes whatever can lie
   lowest upon what is placed.
3. What is left of the effort goes into a local search, squeaky wheel optimisation (Joslin and Clements, 1999): place
   by first fit below the best peak; the first block that does not fit "squeaks", and moves in the order to just before
   a block that it lives with, drawn at random. Attempts end at the first block that fails, so they are cheap. Without
   success for a while the search begins again: from its best order, and in between from one of those of step 2.

4. If the peak is above the lower bound even then, an exact search (exact/) lowers it, or proves that nothing does.

It ends when the peak meets the lower bound (it is optimal then) or the wanted capacity. Effort is counted in blocks
and nodes looked at, not in seconds, so that the same blocks, seed and effort give the same addresses everywhere.
"""

from __future__ import annotations

import heapq
import math
import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np

from bench.compiler.exact.library import Row, takes
from bench.compiler.exact.minimise import minimise
from bench.errors import ConfigError

EFFORT = 60
"""Orders tried by the local search for each block."""

_MOST_WORK = 20_000_000  # conflicts looked at altogether: two to four seconds
_MOST_EXACT_WORK = 50_000_000  # nodes times blocks of the exact search: a few seconds
_NOWHERE_ELSE = 1 << 40  # as an alignment: of all addresses only 0 suits
_MOST_CONFLICTS = 2_000_000  # more are not listed, as that would take hundreds of megabytes


@dataclass(frozen=True)
class Block:
    """Something that lives from step `lower` up to, not including, step `upper`. `size` and `align` in bytes.

    `kind` is for pictures: activation, gradient, gate, winners, saved, scratch, input, logits. `offset`, if given, is
    where it must lie: such blocks may overlap each other, and all others lie above them.
    """

    name: str
    lower: int
    upper: int
    size: int
    align: int = 4
    kind: str = ""
    offset: int | None = None


@dataclass(frozen=True)
class Placement:
    """The address of every block by name, where the highest one ends, and what no placement can go below. Bytes.

    `exhausted`: everything lower was searched in vain.
    """

    offsets: Mapping[str, int]
    peak: int
    lower_bound: int
    exhausted: bool = False

    @property
    def proved_optimal(self) -> bool:
        """Whether no placement of these blocks ends lower."""
        return self.exhausted or self.peak <= self.lower_bound

    @property
    def gap(self) -> float:
        """How much more than the lower bound this takes, as a fraction of it: 0 is optimal."""
        return self.peak / self.lower_bound - 1 if self.lower_bound else 0.0


def place(
    blocks: Sequence[Block],
    *,
    seed: int = 0,
    effort: int = EFFORT,
    capacity: int | None = None,
    deadline: float = math.inf,
) -> Placement:
    """Gives every block an address, the highest end as low as can be found.

    Args:
        blocks: with names of their own. Those of size 0 take no room and lie at 0.
        seed: of the local search.
        effort: orders that the local search tries for each block; 0 leaves it and the exact search out. In large
            instances the work is limited to a few seconds all the same.
        capacity: what would do, in bytes: the search ends when the peak is no higher. Whether it was reached is for
            the caller to see.
        deadline: of time.monotonic(), from which on no further order is tried; makes the answer depend on how fast
            the machine is.

    Raises:
        ConfigError: a malformed block, two of one name, or no C++ compiler for the exact search.
    """
    _check(blocks)
    bound = lower_bound(blocks)
    offsets = {block.name: block.offset or 0 for block in blocks}
    free = [block for block in blocks if block.size > 0 and block.offset is None]
    exhausted = False
    if free:
        grounds = _grounds(blocks)
        goal = max(bound, capacity or 0)
        found = _Search(free, grounds, goal, deadline).run(seed, effort)
        rows = rows_of([*free, *grounds])
        if effort > 0 and takes(rows):
            start = [*found, *([0] * len(grounds))]
            least = minimise(rows, start, bound, goal=goal, nodes=_MOST_EXACT_WORK // len(rows))
            found, exhausted = list(least.offsets), least.proved_optimal
        offsets |= {block.name: offset for block, offset in zip(free, found, strict=False)}
    peak = max((offsets[block.name] + block.size for block in blocks), default=0)
    return Placement(offsets, peak, bound, exhausted)


def rows_of(blocks: Sequence[Block]) -> list[Row]:
    """Blocks as the exact search takes them."""
    return [(block.lower, block.upper, block.size, block.align) for block in blocks]


def lower_bound(blocks: Sequence[Block]) -> int:
    """Bytes that no placement can go below: the most that lives at one step.

    All addresses are multiples of the greatest common divisor g of the alignments, so of the blocks that live at a
    step each takes its size rounded up to g, except for the highest one, which nothing lies upon; the bound lets that
    be the block which saves most.

    Raises:
        ConfigError: a malformed block, or two of one name.
    """
    _check(blocks)
    free = [block for block in blocks if block.size > 0 and block.offset is None]
    solid = sorted([*free, *_grounds(blocks)], key=lambda block: block.lower)
    divisor = math.gcd(*(block.align for block in solid))
    live = bound = 0
    ends: list[tuple[int, int]] = []  # of what lives: when, rounded size
    savings: list[tuple[int, int]] = []  # largest first: saving, end of life; what has died is dropped when seen
    for block in solid:
        rounded = _aligned(block.size, divisor)
        heapq.heappush(ends, (block.upper, rounded))
        heapq.heappush(savings, (block.size - rounded, block.upper))
        live += rounded
        while ends[0][0] <= block.lower:
            live -= heapq.heappop(ends)[1]
        while savings[0][1] <= block.lower:
            heapq.heappop(savings)
        bound = max(bound, live + savings[0][0])
    return bound


def _grounds(blocks: Sequence[Block]) -> list[Block]:
    """Blocks with an address as one after the other, each from the arena's start up to the highest end while it lives.

    Where one begins or ends in the life of another, a new ground begins.
    """
    fixed = [block for block in blocks if block.offset is not None and block.size > 0]
    times = sorted({time for block in fixed for time in (block.lower, block.upper)})
    found = []
    for lower, upper in pairwise(times):
        tops = [(block.offset or 0) + block.size for block in fixed if block.lower <= lower < block.upper]
        if tops:
            found.append(Block(f"ground {lower}", lower, upper, max(tops), _NOWHERE_ELSE))
    return found


def _aligned(offset: int, alignment: int) -> int:
    return -(-offset // alignment) * alignment


def _check(blocks: Sequence[Block]) -> None:
    names = set()
    for block in blocks:
        if block.lower >= block.upper:
            raise ConfigError(
                f"block {block.name}: lives from step {block.lower} up to {block.upper}: give an end after the start"
            )
        if block.size < 0 or block.align < 1:
            raise ConfigError(
                f"block {block.name}: {block.size} bytes aligned to {block.align}: "
                "sizes are 0 or more, alignments 1 or more"
            )
        if block.name in names:
            raise ConfigError(f"block {block.name}: the name is used twice; give each block its own")
        names.add(block.name)


class _Instance:
    """Blocks as lists by index, which of them live at the same time, and the least address of each."""

    def __init__(self, blocks: Sequence[Block], grounds: Sequence[Block] = ()) -> None:
        self.blocks = blocks
        self.least = [
            _aligned(max((g.size for g in grounds if g.lower < b.upper and b.lower < g.upper), default=0), b.align)
            for b in blocks
        ]
        self.count = len(blocks)
        self.sizes = [block.size for block in blocks]
        self.aligns = [block.align for block in blocks]
        # Begin and end of a placed block are kept in one number: those sort several times faster than pairs.
        highest = max(self.least, default=0) + sum(block.size + block.align for block in blocks)
        self.shift = highest.bit_length()
        self.mask = (1 << self.shift) - 1

    @cached_property
    def conflicts(self) -> int:
        """Pairs of blocks that live at the same time."""
        starts = sorted(block.lower for block in self.blocks)
        ends = sorted(block.upper for block in self.blocks)
        ended = pairs = 0
        for begun, start in enumerate(starts):
            while ends[ended] <= start:
                ended += 1
            pairs += begun - ended
        return pairs

    @cached_property
    def neighbours(self) -> list[list[int]]:
        """Blocks that live at the same time as each, itself left out."""
        found: list[list[int]] = [[] for _ in self.blocks]
        live: list[int] = []
        for index in sorted(range(self.count), key=lambda i: self.blocks[i].lower):
            start = self.blocks[index].lower
            live = [other for other in live if self.blocks[other].upper > start]
            for other in live:
                found[index].append(other)
                found[other].append(index)
            live.append(index)
        return found

    @cached_property
    def spans(self) -> list[tuple[int, int]]:
        """Each block's life, half-open, in sections: times between two consecutive beginnings or ends of any block."""
        times = sorted({time for block in self.blocks for time in (block.lower, block.upper)})
        section = {time: index for index, time in enumerate(times)}
        return [(section[block.lower], section[block.upper]) for block in self.blocks]

    @cached_property
    def contention(self) -> list[int]:
        """The most bytes that live at one step of each block's life."""
        change = [0] * (max(end for _, end in self.spans) + 1)
        for (start, end), size in zip(self.spans, self.sizes, strict=True):
            change[start] += size
            change[end] -= size
        # As floats numpy would be fast but not exact, as int64 it could overflow; objects are both exact and enough.
        live = np.cumsum(np.array(change, dtype=object))
        return [max(live[start:end]) for start, end in self.spans]

    def first_fit(self, order: Sequence[int], limit: int) -> tuple[list[int], int]:
        """Each block in turn into the lowest gap. Gives offsets and -1, or the first block that would end above limit.

        Blocks tell those that they live with where they lie, so each looks at its own conflicts only.
        """
        shift, mask, sizes, neighbours = self.shift, self.mask, self.sizes, self.neighbours
        offsets = [-1] * self.count
        occupied: list[list[int]] = [[] for _ in range(self.count)]
        for index in order:
            size, start, spans = sizes[index], self.least[index], occupied[index]
            spans.sort()
            for span in spans:
                if (span >> shift) - start >= size:
                    break
                end = span & mask
                if end > start:
                    align = self.aligns[index]
                    start = -(-end // align) * align
            end = start + size
            if end > limit:
                return offsets, index
            offsets[index] = start
            span = (start << shift) | end
            for other in neighbours[index]:
                if offsets[other] < 0:
                    occupied[other].append(span)
        return offsets, -1

    def best_fit(self, order: Sequence[int]) -> list[int]:
        """Each block in turn into the gap of which least is left over, the lowest of those; else on top."""
        offsets = [-1] * self.count
        for index in order:
            size, align = self.sizes[index], self.aligns[index]
            placed = sorted((offsets[o], offsets[o] + self.sizes[o]) for o in self.neighbours[index] if offsets[o] >= 0)
            chosen, least, start = -1, -1, self.least[index]
            for begin, end in placed:
                rest = begin - start - size
                if rest >= 0 and (chosen < 0 or rest < least):
                    chosen, least = start, rest
                start = max(start, _aligned(end, align))
            offsets[index] = start if chosen < 0 else chosen
        return offsets

    def skyline(self, order: Sequence[int]) -> list[int]:
        """Each block in turn upon whatever lies highest in its life. Gaps stay, but no list of conflicts is needed."""
        big = self.mask > np.iinfo(np.int64).max
        heights = np.zeros(max(end for _, end in self.spans), dtype=object if big else np.int64)
        offsets = [0] * self.count
        for index in order:
            start, end = self.spans[index]
            offsets[index] = max(self.least[index], _aligned(int(heights[start:end].max()), self.aligns[index]))
            heights[start:end] = offsets[index] + self.sizes[index]
        return offsets

    def orders(self) -> Iterator[list[int]]:
        """The orders of step 2, those first that are best as a rule. Ties go to the blocks' own order."""
        sizes, contention = self.sizes, self.contention
        lower = [block.lower for block in self.blocks]
        upper = [block.upper for block in self.blocks]
        life = [block.upper - block.lower for block in self.blocks]
        keys: list[Callable[[int], tuple[int, ...]]] = [
            lambda i: (-contention[i], -life[i], -sizes[i]),
            lambda i: (-sizes[i], -life[i]),
            lambda i: (-contention[i], -sizes[i], -life[i]),
            lambda i: (-life[i], -sizes[i]),
            lambda i: (-sizes[i] * life[i],),
            lambda i: (-sizes[i] * sizes[i] * life[i],),
            lambda i: (-contention[i], -sizes[i] * life[i]),
            lambda i: (lower[i], -upper[i], -sizes[i]),
            lambda i: (-upper[i], lower[i], -sizes[i]),
        ]
        for key in keys:
            yield sorted(range(self.count), key=key)

    def conflict_orders(self) -> Iterator[list[int]]:
        """The orders that need to know who lives with whom: by degree, by conflicting bytes, canonical."""
        degree = [len(others) for others in self.neighbours]
        weight = [sum(self.sizes[other] for other in others) for others in self.neighbours]
        yield sorted(range(self.count), key=lambda i: (-degree[i], -self.sizes[i]))
        yield sorted(range(self.count), key=lambda i: (-weight[i], -self.sizes[i]))
        yield self.canonical()

    def canonical(self) -> list[int]:
        """Next whatever can lie lowest upon the placed blocks; among those where most contends, then the longest."""
        rank = [(-c, b.lower - b.upper, -b.size) for c, b in zip(self.contention, self.blocks, strict=True)]
        floor = list(self.least)
        order: list[int] = []
        done = [False] * self.count
        heap = [(floor[index], rank[index], index) for index in range(self.count)]
        heapq.heapify(heap)
        while heap:
            low, _, index = heapq.heappop(heap)
            if done[index] or low != floor[index]:
                continue  # was entered again, higher
            done[index] = True
            order.append(index)
            end = low + self.sizes[index]
            for other in self.neighbours[index]:
                if not done[other] and floor[other] < end:
                    floor[other] = _aligned(end, self.aligns[other])
                    heapq.heappush(heap, (floor[other], rank[other], other))
        return order


class _Search:
    """Steps 2 and 3: keeps the best placement, and stops at `goal` bytes or when the work is used up."""

    def __init__(self, blocks: Sequence[Block], grounds: Sequence[Block], goal: int, deadline: float) -> None:
        self.instance = _Instance(blocks, grounds)
        self.goal = goal
        self.deadline = deadline
        self.peak: int | None = None
        self.offsets: list[int] = []
        self.tried: list[tuple[int, list[int]]] = []  # orders of step 2 and the peaks that they gave

    def run(self, seed: int, effort: int) -> list[int]:
        """Offsets by index."""
        instance = self.instance
        dense = instance.conflicts > _MOST_CONFLICTS
        work = _MOST_WORK // (1 if dense else instance.conflicts + instance.count)  # in passes over all conflicts
        for order in instance.orders():
            if self._met or ((work <= 0 or self._late) and self.tried):
                return self.offsets
            if dense:
                self._keep(order, instance.skyline(order))
                work -= sum(end - start for start, end in instance.spans) // 20  # numpy's steps are that much cheaper
            else:
                self._try(order)
                work -= 3
        if dense or work <= 0:
            return self.offsets
        for order in instance.conflict_orders():
            if self._met or self._late:
                return self.offsets
            self._try(order)
            work -= 3
        self._improve(random.Random(seed), min(effort * instance.count, work))
        return self.offsets

    @property
    def _met(self) -> bool:
        return self.peak is not None and self.peak <= self.goal

    @property
    def _late(self) -> bool:
        return time.monotonic() >= self.deadline

    def _try(self, order: list[int]) -> None:
        offsets, _ = self.instance.first_fit(order, self.instance.mask)
        self._keep(order, offsets)
        if not self._met and not self._late:
            self._keep(order, self.instance.best_fit(order))

    def _keep(self, order: list[int], offsets: list[int]) -> None:
        peak = max(offset + size for offset, size in zip(offsets, self.instance.sizes, strict=True))
        self.tried.append((peak, order))
        if self.peak is None or peak < self.peak:
            self.peak, self.offsets = peak, offsets

    def _improve(self, rng: random.Random, attempts: int) -> None:
        """Step 3: squeaky wheel optimisation by first fit."""
        instance = self.instance
        starts = [order for _, order in sorted(self.tried, key=lambda pair: pair[0])]
        # By first fit, the order of its addresses gives a placement at least as good as the one it was taken from.
        best = sorted(range(instance.count), key=lambda index: self.offsets[index])
        order, patience, failures, restarts = list(best), 4 * instance.count, 0, 0
        for _ in range(attempts):
            assert self.peak is not None
            if self._met or self._late:
                return
            offsets, failed = instance.first_fit(order, max(self.goal, self.peak - 1))
            if failed < 0:
                self._keep(order, offsets)
                best, failures = list(order), 0
                continue
            earlier = _earlier(order, failed, instance.neighbours[failed])
            if not earlier:
                return  # the block alone is higher than the limit; cannot happen while that is at least the bound
            order.remove(failed)
            order.insert(rng.choice(earlier), failed)
            failures += 1
            if failures % patience == 0:
                restarts += 1
                order = list(best if restarts % 2 else starts[restarts // 2 % len(starts)])


def _earlier(order: Sequence[int], index: int, neighbours: Sequence[int]) -> list[int]:
    """Positions of a block's neighbours that come before it."""
    wanted = set(neighbours)
    return [position for position, other in enumerate(order[: order.index(index)]) if other in wanted]
