"""Instances for the exact placement which are known to have one, and an independent way to the optimum."""

from __future__ import annotations

import itertools
import random
from collections.abc import Sequence
from functools import cache

from bench.compiler.exact.library import Row


def overlap(a: Row, b: Row) -> bool:
    return a[0] < b[1] and b[0] < a[1]


def clash(rows: Sequence[Row], offsets: Sequence[int], capacity: int) -> str:
    """What is wrong with a placement; empty if nothing is."""
    for index, (row, offset) in enumerate(zip(rows, offsets, strict=True)):
        if offset % row[3] or offset < 0 or offset + row[2] > capacity:
            return f"block {index} at {offset}"
        for other, (its_row, its_offset) in enumerate(zip(rows[:index], offsets[:index], strict=True)):
            if overlap(row, its_row) and offset < its_offset + its_row[2] and its_offset < offset + row[2]:
                return f"blocks {other} and {index}"
    return ""


def brute_force(rows: Sequence[Row]) -> int:
    """The lowest peak: all orders by first fit, as the order of an optimal placement's offsets gives one as good."""
    best = sum(row[2] + row[3] for row in rows)

    @cache
    def lowest(placed: tuple[tuple[int, int], ...], peak: int) -> int:
        nonlocal best
        if peak >= best:
            return best
        if len(placed) == len(rows):
            best = peak
            return peak
        done = {index for index, _ in placed}
        for index, row in enumerate(rows):
            if index in done:
                continue
            start = 0
            for offset, end in sorted((o, o + rows[i][2]) for i, o in placed if overlap(row, rows[i])):
                if start + row[2] <= offset:
                    break
                start = max(start, -(-end // row[3]) * row[3])
            lowest(tuple(sorted((*placed, (index, start)))), max(peak, start + row[2]))
        return best

    lowest((), 0)
    return best


def random_rows(
    rng: random.Random, count: int, *, steps: int = 6, most: int = 6, aligns: Sequence[int] = (1,)
) -> list[Row]:
    """Blocks without any plan."""
    rows = []
    for _ in range(count):
        lower = rng.randrange(steps)
        rows.append((lower, rng.randint(lower + 1, steps), rng.randint(1, most), rng.choice(aligns)))
    return rows


def guillotine(rng: random.Random, count: int, capacity: int, *, grain: int = 1, left_out: float = 0.0) -> list[Row]:
    """Time x memory cut by straight lines into `count` blocks, which therefore fit; `left_out` of them are dropped.

    Lives are long and short, sizes multiples of `grain`. With nothing left out each moment is full to the last byte.
    """
    pieces = [(0, 1024, 0, capacity // grain)]
    while len(pieces) < count:
        index = rng.choices(range(len(pieces)), [(piece[1] - piece[0]) * (piece[3] - piece[2]) for piece in pieces])[0]
        lower, upper, bottom, top = pieces[index]
        high, long = top - bottom > 1, upper - lower > 1
        share = rng.betavariate(1.5, 1.5)
        if high and (not long or rng.random() < (0.62 if upper - lower > 102 else 0.5)):
            cut = bottom + max(1, min(top - bottom - 1, round((top - bottom) * share)))
            pieces[index : index + 1] = [(lower, upper, bottom, cut), (lower, upper, cut, top)]
        elif long:
            cut = lower + max(1, min(upper - lower - 1, round((upper - lower) * share)))
            pieces[index : index + 1] = [(lower, cut, bottom, top), (cut, upper, bottom, top)]
    rows = [(lower, upper, (top - bottom) * grain, 1) for lower, upper, bottom, top in pieces]
    rng.shuffle(rows)
    return [row for row in rows if rng.random() >= left_out]


def chain(rng: random.Random, count: int, capacity: int, *, grain: int = 1024) -> list[Row]:
    """Short lives in a long row, of like sizes: a packing of stacks that hand over to each other block by block.

    What goes wrong at one time has no cause at others, which a search must find out.
    """
    rows: list[Row] = []
    heights = [0, *sorted(rng.sample(range(1, capacity // grain), 13)), capacity // grain]
    lanes = [[low, high, 0] for low, high in itertools.pairwise(heights)]
    while len(rows) < count:
        lane = min(lanes, key=lambda each: each[2])
        lower = lane[2]
        upper = lower + rng.randint(20, 44)
        rows.append((lower, upper, (lane[1] - lane[0]) * grain, 1))
        lane[2] = upper
        neighbour = next((other for other in lanes if other[0] == lane[1] and other[2] == upper), None)
        if neighbour is not None:  # both begin anew: their border may move
            lane[1] = neighbour[0] = rng.randint(lane[0] + 1, neighbour[1] - 1)
    rng.shuffle(rows)
    return rows
