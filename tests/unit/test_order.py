"""Orders of kernel calls: always legal, and for small schedules the best there is."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.compiler import order
from bench.compiler.order import Task, best_order
from bench.errors import ConfigError


def fullest(tasks: Sequence[Task], sizes: dict[str, int], kept: frozenset[str] = frozenset()) -> int:
    """Bytes at the fullest task of an order, from the definition: a value lives from its writer to its last reader."""
    last = {name: index for index, task in enumerate(tasks) for name in task.reads | task.writes}
    last |= dict.fromkeys(kept, len(tasks))
    written = {name for task in tasks for name in task.writes}
    live = {name for name in last if name not in written}
    peak = 0
    for index, task in enumerate(tasks):
        live |= task.writes
        saved, taken = 0, set()
        for target, source in task.may_alias:
            dies = last[source] == index and source not in kept
            if dies and source not in taken and target not in taken and sizes[target] <= sizes[source]:
                saved += sizes[target]
                taken |= {source, target}
        peak = max(peak, sum(sizes[name] for name in live) + task.scratch - saved)
        live -= {name for name in live if last[name] == index and name not in kept}
    return peak


def legal(tasks: Sequence[Task]) -> bool:
    done: set[str] = set()
    written: set[str] = set()
    made = {name for task in tasks for name in task.writes}
    for task in tasks:
        if not task.after <= done or not (task.reads & made) <= written:
            return False
        done.add(task.name)
        written |= task.writes
    return True


@st.composite
def schedules(draw: st.DrawFn) -> tuple[list[Task], dict[str, int]]:
    """Up to seven tasks that read what earlier ones wrote; some wait for another, some have scratch."""
    count = draw(st.integers(1, 7))
    tasks: list[Task] = []
    sizes: dict[str, int] = {}
    for index in range(count):
        earlier = [f"v{i}" for i in range(index)]
        reads = draw(st.sets(st.sampled_from(earlier), max_size=2)) if earlier else set()
        after = draw(st.sets(st.sampled_from([f"t{i}" for i in range(index)]), max_size=1)) if index else set()
        sizes[f"v{index}"] = 4 * draw(st.integers(1, 12))
        tasks.append(
            Task(f"t{index}", frozenset(reads), frozenset({f"v{index}"}), frozenset(after),
                 scratch=4 * draw(st.integers(0, 4)))
        )  # fmt: skip
    return tasks, sizes


@given(schedules())
@settings(max_examples=120, deadline=None, derandomize=True)
def test_a_small_schedule_is_ordered_optimally(schedule: tuple[list[Task], dict[str, int]]) -> None:
    tasks, sizes = schedule
    by_name = {task.name: task for task in tasks}
    found = [by_name[name] for name in best_order(tasks, sizes)]
    assert sorted(task.name for task in found) == sorted(by_name)
    assert legal(found)
    optimum = min(fullest(o, sizes) for o in itertools.permutations(tasks) if legal(o))
    assert fullest(found, sizes) == optimum


@given(schedules())
@settings(max_examples=60, deadline=None, derandomize=True)
def test_the_beam_is_legal_and_no_worse_than_what_was_given(schedule: tuple[list[Task], dict[str, int]]) -> None:
    tasks, sizes = schedule
    by_name = {task.name: task for task in tasks}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(order, "MAX_STATES", 1)
        found = [by_name[name] for name in best_order(tasks, sizes)]
    assert legal(found)
    assert fullest(found, sizes) <= fullest(tasks, sizes)


def test_memory_that_dies_with_a_task_may_be_taken() -> None:
    """Reading `a` last, `add` may write where `a` lies: then 2 x 8 bytes do instead of 3 x 8."""
    sizes = {"a": 8, "b": 8, "c": 8}
    tasks = [
        Task("make a", frozenset(), frozenset({"a"})),
        Task("make b", frozenset(), frozenset({"b"})),
        Task("add", frozenset({"a", "b"}), frozenset({"c"}), may_alias=(("c", "a"),)),
        Task("read a", frozenset({"a"}), frozenset()),
    ]
    names = best_order(tasks, sizes)
    assert names.index("read a") < names.index("add")


def test_tasks_that_wait_for_each_other_are_refused() -> None:
    one = Task("one", frozenset({"y"}), frozenset({"x"}))
    two = Task("two", frozenset({"x"}), frozenset({"y"}))
    with pytest.raises(ConfigError, match="circle"):
        best_order([one, two], {"x": 4, "y": 4})


def test_nothing_to_order() -> None:
    assert best_order([], {}) == ()
