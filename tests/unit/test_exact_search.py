"""The exact search: the optimum of independent oracles, with whichever of its rules; proofs; limits; large numbers."""

from __future__ import annotations

import itertools
import json
import math
import random
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from bench.compiler.exact.library import ALL_SWITCHES, Attempt, Row, Switch, Verdict, attempt, check_size
from bench.compiler.exact.minimise import minimise
from bench.compiler.place import Block, lower_bound, place
from bench.errors import ConfigError
from tests.unit.placement_instances import brute_force, chain, clash, guillotine, random_rows


def bound_of(rows: Sequence[Row]) -> int:
    return lower_bound([Block(str(index), *row) for index, row in enumerate(rows)])


def stacked(rows: Sequence[Row]) -> list[int]:
    """A placement that anybody can find: all blocks upon each other."""
    offsets, top = [], 0
    for row in rows:
        offsets.append(-(-top // row[3]) * row[3])
        top = offsets[-1] + row[2]
    return offsets


def asked(rows: Sequence[Row], capacity: int, **options: Any) -> Attempt:
    found = attempt(rows, capacity, **options)
    if found.verdict is Verdict.PLACED:
        assert clash(rows, found.offsets, capacity) == ""
    return found


SMALL = [
    random_rows(random.Random(seed), 3 + seed % 5, steps=3 + seed % 4, aligns=(1,) if seed % 2 else (1, 2, 3, 4))
    for seed in range(40)
]
# All but the first are not solved at the lower bound.
TIGHT: list[list[Row]] = [
    [(0, 2, 2, 1), (1, 3, 3, 1), (2, 4, 2, 1)],
    [(0, 1, 1, 4), (0, 1, 1, 4), (0, 1, 1, 1)],
    [(0, 2, 3, 2), (1, 4, 2, 3), (3, 5, 3, 2), (0, 5, 1, 1), (4, 6, 5, 4)],
]


@pytest.mark.parametrize("number", range(len(SMALL)))
def test_the_optimum_is_that_of_brute_force(number: int) -> None:
    rows = SMALL[number]
    least = brute_force(rows)
    assert asked(rows, least).verdict is Verdict.PLACED
    assert asked(rows, least - 1).verdict is Verdict.INFEASIBLE
    found = minimise(rows, stacked(rows), bound_of(rows))
    assert (found.peak, found.proved_optimal) == (least, True)
    assert clash(rows, found.offsets, least) == ""


@pytest.mark.parametrize("value", range(1 << len(Switch)))
def test_no_rule_changes_the_answer(value: int) -> None:
    """All combinations, each on other instances, at the optimum and below it."""
    switches = Switch(value)
    for rows in [SMALL[value % len(SMALL)], SMALL[(value * 7 + 3) % len(SMALL)], *TIGHT]:
        if len(rows) > 6:
            rows = rows[:6]
        least = brute_force(rows)
        assert asked(rows, least, switches=switches).verdict is Verdict.PLACED
        assert asked(rows, least - 1, switches=switches).verdict is Verdict.INFEASIBLE


def test_each_rule_alone_and_each_left_out_agree_on_larger_instances() -> None:
    rng = random.Random(5)
    choices = [ALL_SWITCHES, *(ALL_SWITCHES & ~rule for rule in Switch)]
    for _ in range(6):
        rows = random_rows(rng, 14, steps=9, most=9, aligns=rng.choice(((1,), (4,), (1, 2, 4))))
        least = minimise(rows, stacked(rows), bound_of(rows)).peak
        for switches, capacity in itertools.product(choices, (least, least - 1)):
            wanted = Verdict.PLACED if capacity == least else Verdict.INFEASIBLE
            verdict = asked(rows, capacity, switches=switches, nodes=20_000).verdict
            assert verdict in (wanted, Verdict.GAVE_UP), (switches, rows, capacity)


@pytest.mark.parametrize("seed", range(12))
def test_the_optimum_is_that_of_cp_sat(seed: int) -> None:
    """OR-tools in a process of its own: its libraries and jax's do not share one well."""
    pytest.importorskip("ortools")
    rows = random_rows(random.Random(seed), 9, steps=7, most=12, aligns=((1,), (4,), (2, 3))[seed % 3])
    solver = [sys.executable, str(Path(__file__).with_name("cp_sat.py"))]
    done = subprocess.run(solver, input=json.dumps(rows), capture_output=True, text=True, check=True)
    found = minimise(rows, stacked(rows), bound_of(rows))
    assert (found.peak, found.proved_optimal) == (int(done.stdout), True)


@pytest.mark.parametrize(("count", "left_out"), [(60, 0.0), (100, 0.03), (150, 0.0), (200, 0.0)])
def test_packings_without_a_spare_byte_are_found_again(count: int, left_out: float) -> None:
    rows = guillotine(random.Random(1), count, 1 << 20, grain=1024, left_out=left_out)
    assert asked(rows, 1 << 20, nodes=200_000).verdict is Verdict.PLACED


def test_hard_instances_are_solved_where_the_heuristics_stay_above() -> None:
    """Seeds at which first and best fit in all their orders miss the capacity."""
    hard = [guillotine(random.Random(seed), 150, 1 << 20, left_out=0.03) for seed in (0, 3, 4)]
    for rows in (chain(random.Random(2), 150, 1 << 20), *hard):
        blocks = [Block(str(index), *row) for index, row in enumerate(rows)]
        assert place(blocks, effort=0, capacity=1 << 20).peak > 1 << 20
        assert asked(rows, 1 << 20, nodes=200_000).verdict is Verdict.PLACED


@pytest.mark.parametrize(
    "rows",
    [
        guillotine(random.Random(2), 150, 1 << 20, left_out=0.03),
        guillotine(random.Random(2), 150, 1 << 20, grain=1024, left_out=0.02),
        chain(random.Random(3), 250, 1 << 20),
    ],
    ids=["fine", "coarse", "chain"],
)
def test_mixed_orders_solve_what_the_fixed_ones_do_not(rows: list[Row]) -> None:
    """Each took more than 300,000 nodes when the fixed orders had all turns."""
    assert asked(rows, 1 << 20, nodes=120_000).verdict is Verdict.PLACED


def test_proofs_hold_in_any_order_of_preference() -> None:
    """The first turn of the portfolio is too short for these, so that other orders, and mixtures, have theirs."""
    rng = random.Random(8)
    for _ in range(12):
        rows = random_rows(rng, 12, steps=8, most=30, aligns=rng.choice(((1,), (1, 2, 3))))
        least = minimise(rows, stacked(rows), bound_of(rows)).peak
        for switches in (ALL_SWITCHES, ALL_SWITCHES & ~Switch.BACKJUMPING, Switch.PORTFOLIO, Switch.SUPPORT):
            wanted = {least: Verdict.PLACED, least - 1: Verdict.INFEASIBLE}
            for capacity, verdict in wanted.items():
                found = asked(rows, capacity, switches=switches, nodes=20_000).verdict
                assert found in (verdict, Verdict.GAVE_UP), (switches, rows, capacity)


def test_blocks_that_live_apart_are_solved_apart() -> None:
    """Twenty copies of a small riddle, one after another: without decomposition their searches would multiply."""
    riddle = guillotine(random.Random(3), 14, 32)
    rows = [
        (lower + 2000 * copy, upper + 2000 * copy, size, 1) for copy in range(20) for lower, upper, size, _ in riddle
    ]
    assert asked(rows, 32, nodes=100_000).verdict is Verdict.PLACED
    # One without a solution is enough, and one word about it.
    late = [(lower + 50_000, upper + 50_000, size, align) for lower, upper, size, align in TIGHT[1]]
    odd: list[Row] = [(60_000, 60_001, 4, 4), (60_000, 60_001, 1, 1)]
    assert asked([*rows, *late, *odd], 4, nodes=100_000).verdict is Verdict.INFEASIBLE


def test_alignment_counts_where_something_lies_upon_a_block() -> None:
    assert asked([(0, 1, 5, 4), (0, 1, 5, 4)], 13).verdict is Verdict.PLACED
    assert asked([(0, 1, 5, 4), (0, 1, 5, 4)], 12).verdict is Verdict.INFEASIBLE
    mixed: list[Row] = [(0, 2, 3, 1), (0, 2, 4, 4), (1, 3, 1, 2)]
    assert minimise(mixed, stacked(mixed), bound_of(mixed)).peak == brute_force(mixed)


def test_trivial_instances() -> None:
    assert asked([], 0) == Attempt(Verdict.PLACED, (), 0)
    assert asked([(0, 1, 7, 1)], 7).offsets == (0,)
    assert asked([(0, 1, 7, 1)], 6).verdict is Verdict.INFEASIBLE
    same: list[Row] = [(0, 9, size, 1) for size in range(1, 40)]
    assert asked(same, sum(range(1, 40))).verdict is Verdict.PLACED
    assert asked(same, sum(range(1, 40)) - 1).nodes <= 1, "a capacity below the bound needs no search"


def test_large_numbers_and_negative_times() -> None:
    scale = 2**40 + 1
    rows = [(lower - 2**50, upper + 2**50, size * scale, 1) for lower, upper, size, _ in TIGHT[0]]
    least = brute_force(rows)
    assert least > 2**32
    assert asked(rows, least).verdict is Verdict.PLACED
    assert asked(rows, least - 1).verdict is Verdict.INFEASIBLE
    for refused in ([(0, 1, 2**62, 1)], [(0, 2**62, 1, 1)], [(0, 1, 1, 1)] * 4001):
        with pytest.raises(ConfigError):
            check_size(refused)


def test_nodes_are_a_limit_and_the_answer_depends_on_nothing_else() -> None:
    rows = guillotine(random.Random(0), 300, 1 << 20, left_out=0.03)
    first, second = (asked(rows, 1 << 20, nodes=2_000) for _ in range(2))
    assert first == second
    assert first.verdict is Verdict.GAVE_UP
    assert first.nodes <= 2_000


def test_a_deadline_ends_the_search_within_a_second() -> None:
    rows = guillotine(random.Random(0), 300, 1 << 20, left_out=0.03)
    began = time.monotonic()
    assert asked(rows, bound_of(rows), deadline=began + 0.2).verdict is not Verdict.INFEASIBLE
    assert time.monotonic() - began < 1.2


def test_an_interrupt_ends_the_search(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(self: threading.Thread, timeout: float | None = None) -> None:
        if timeout is not None:
            raise KeyboardInterrupt
        wait(self)

    wait = threading.Thread.join
    monkeypatch.setattr(threading.Thread, "join", interrupt)
    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        attempt(guillotine(random.Random(0), 300, 1 << 20, left_out=0.03), 1 << 20, deadline=math.inf)
    assert time.monotonic() - began < 1


def test_minimising_stops_at_its_goal_and_at_its_nodes() -> None:
    rows = random_rows(random.Random(11), 14, steps=9, most=9)
    free = minimise(rows, stacked(rows), bound_of(rows))
    goal = free.peak + 3
    assert free.peak <= minimise(rows, stacked(rows), bound_of(rows), goal=goal).peak <= goal
    none = minimise(rows, stacked(rows), bound_of(rows), nodes=0)
    assert none.offsets == tuple(stacked(rows))
    assert not none.proved_optimal


def test_the_compilers_placement_is_proved() -> None:
    """Where the bound cannot be reached, the search says that nothing lower exists."""
    found = place([Block("a", 0, 1, 1, 4), Block("b", 0, 1, 1, 4), Block("c", 0, 1, 1, 1)])
    assert (found.peak, found.lower_bound, found.proved_optimal) == (5, 3, True)
    assert not place([Block("a", 0, 1, 1, 4), Block("b", 0, 1, 1, 4), Block("c", 0, 1, 1, 1)], effort=0).proved_optimal
