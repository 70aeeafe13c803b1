"""Order of calls: legal always, and of all legal orders the one whose fullest moment takes the fewest bytes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.compiler import order
from bench.compiler.order import Task, best_order
from bench.errors import ConfigError


@dataclass(frozen=True)
class Problem:
    tasks: tuple[Task, ...]
    sizes: Mapping[str, int]
    kept: frozenset[str]


def task(name: str, reads: str = "", writes: str = "", after: str = "", alias: str = "", scratch: int = 0) -> Task:
    """A task from words; `alias` as "written=read"."""
    pairs = tuple((pair.split("=")[0], pair.split("=")[1]) for pair in alias.split())
    return Task(name, frozenset(reads.split()), frozenset(writes.split()), frozenset(after.split()), pairs, scratch)


def fullest_moment(problem: Problem, names: Sequence[str]) -> int:
    """The most bytes that live at once, by walking through the order with a set of what is in memory."""
    by_name = {task.name: task for task in problem.tasks}
    tasks = [by_name[name] for name in names]
    written = {value for task in tasks for value in task.writes}
    memory = {value for task in tasks for value in task.reads} | problem.kept
    memory -= written
    most = sum(problem.sizes[value] for value in memory)
    for index, now in enumerate(tasks):
        later = {value for task in tasks[index + 1 :] for value in task.reads} | problem.kept
        takes = memory | now.writes
        room = sum(problem.sizes[value] for value in takes) + now.scratch
        for target, source in now.may_alias:
            if source not in later and problem.sizes[target] <= problem.sizes[source]:
                room -= problem.sizes[target]
                break  # tasks here let one value take another's memory
        most = max(most, room)
        memory = takes & later
    return most


def is_legal(problem: Problem, names: Sequence[str]) -> bool:
    if sorted(names) != sorted(task.name for task in problem.tasks):
        return False
    writer = {value: task.name for task in problem.tasks for value in task.writes}
    place = {name: index for index, name in enumerate(names)}
    return all(
        place[before] < place[task.name]
        for task in problem.tasks
        for before in (*task.after, *(writer[value] for value in task.reads if value in writer))
    )


def legal_orders(problem: Problem) -> Iterator[tuple[str, ...]]:
    writer = {value: task.name for task in problem.tasks for value in task.writes}
    before = {t.name: {*t.after, *(writer[value] for value in t.reads if value in writer)} for t in problem.tasks}

    def extend(done: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
        if len(done) == len(before):
            yield done
        for name, needed in before.items():
            if name not in done and needed <= set(done):
                yield from extend((*done, name))

    return extend(())


@st.composite
def problems(draw: st.DrawFn, most: int = 6) -> Problem:
    """Tasks that read inputs and what tasks before them wrote, shown in any order."""
    values = ["in0", "in1"]
    tasks: list[Task] = []
    for index in range(draw(st.integers(1, most))):
        name = f"t{index}"
        reads = draw(st.lists(st.sampled_from(values), max_size=3, unique=True))
        writes = [f"v{index}{letter}" for letter in "ab"[: draw(st.integers(0, 2))]]
        after = draw(st.sets(st.sampled_from([task.name for task in tasks]), max_size=2)) if tasks else set()
        alias = [(writes[0], source) for source in reads if draw(st.booleans())] if writes else []
        scratch = draw(st.sampled_from([0, 0, 5, 20]))
        tasks.append(Task(name, frozenset(reads), frozenset(writes), frozenset(after), tuple(alias), scratch))
        values += writes
    sizes = {value: draw(st.integers(0, 16)) for value in values}
    kept = frozenset(draw(st.lists(st.sampled_from(values), max_size=2)))
    return Problem(tuple(draw(st.permutations(tasks))), sizes, kept)


@given(problems())
@settings(max_examples=250, deadline=None, derandomize=True)
def test_no_legal_order_has_a_lower_fullest_moment(problem: Problem) -> None:
    found = best_order(problem.tasks, problem.sizes, problem.kept)
    assert is_legal(problem, found)
    assert fullest_moment(problem, found) == min(fullest_moment(problem, other) for other in legal_orders(problem))


@given(problems(most=12))
@settings(max_examples=100, deadline=None, derandomize=True)
def test_where_there_are_too_many_states_the_order_is_legal_and_no_worse_than_the_given(problem: Problem) -> None:
    given: list[str] = []
    while len(given) < len(problem.tasks):
        given.append(next(t.name for t in problem.tasks if t.name not in given and is_ready(problem, t, given)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(order, "MAX_STATES", 0)
        patch.setattr(order, "BEAM_WIDTH", 2)
        found = best_order(problem.tasks, problem.sizes, problem.kept)
    assert is_legal(problem, found)
    assert fullest_moment(problem, found) <= fullest_moment(problem, given)


def is_ready(problem: Problem, task: Task, done: Sequence[str]) -> bool:
    waiting = [other for other in problem.tasks if other.name not in done]
    return not task.after & {other.name for other in waiting} and not any(task.reads & o.writes for o in waiting)


def test_the_narrow_branch_runs_last_of_two_that_grow() -> None:
    """Each branch passes through 100 bytes and leaves few: the one that leaves less goes first."""
    tasks = [
        task("a1", "x", "a"), task("a2", "a", "a_left"), task("b1", "x", "b"), task("b2", "b", "b_left"),
        task("join", "a_left b_left", "y"),
    ]  # fmt: skip
    sizes = {"x": 0, "a": 100, "a_left": 30, "b": 100, "b_left": 1, "y": 1}
    assert best_order(tasks, sizes) == ("b1", "b2", "a1", "a2", "join")


def test_what_must_come_after_does_though_it_would_free_memory_at_once() -> None:
    sizes = {"big": 1000, "x": 1, "y": 1}
    slow = task("slow", "x", "y", scratch=50)
    assert best_order([slow, task("free", "big")], sizes) == ("free", "slow")
    assert best_order([slow, task("free", "big", after="slow")], sizes) == ("slow", "free")


@pytest.mark.parametrize(
    ("alias", "kept", "expected"),
    [
        ("y=x", "y w", ("twin", "plain")),
        ("", "y w", ("plain", "twin")),
        ("y=x", "y w x", ("plain", "twin")),
    ],
    ids=["in place", "not declared", "does not die"],
)
def test_a_value_in_the_memory_of_one_that_dies_counts_once(alias: str, kept: str, expected: tuple[str, ...]) -> None:
    """`plain` turns z (30) into w (10), `twin` x (50) into y (20). In place, twin takes nothing: 80 bytes, against
    90 if plain goes first. Else it is better off behind plain, which has freed 20."""
    tasks = [task("twin", "x", "y", alias=alias), task("plain", "z", "w")]
    assert best_order(tasks, {"x": 50, "y": 20, "z": 30, "w": 10}, frozenset(kept.split())) == expected


def test_a_value_that_does_not_fit_lies_elsewhere() -> None:
    """`grow` beside z takes 10 + 50 + 45 bytes, not 95; `free` takes 100 with its scratch, and goes first."""
    tasks = [task("grow", "x", "y", alias="y=x"), task("shrink", "y", "w"), task("free", "z", scratch=45)]
    sizes = {"x": 10, "y": 50, "w": 1, "z": 45}
    assert best_order(tasks, sizes, frozenset({"w"})) == ("free", "grow", "shrink")


def test_whoever_reads_a_value_beside_runs_before_its_memory_is_taken() -> None:
    """42 bytes; the other way x would still be needed, and y lie elsewhere: 82."""
    tasks = (task("over", "x", "y", alias="y=x"), task("look", "x", "z"))
    assert best_order(tasks, {"x": 40, "y": 40, "z": 2}) == ("look", "over")


def test_kept_values_live_to_the_end() -> None:
    """The result of `early` waits for nobody; kept, it is better written last."""
    tasks = [task("early", "", "result"), task("wide", "", "w"), task("sink", "w")]
    assert best_order(tasks, {"result": 10, "w": 100}, frozenset({"result"})) == ("wide", "sink", "early")


def test_nothing_to_order() -> None:
    assert best_order([], {}) == ()


def test_a_circle_is_refused() -> None:
    with pytest.raises(ConfigError, match="circle"):
        best_order([task("a", "y", "x"), task("b", "x", "y")], {"x": 1, "y": 1})
    with pytest.raises(ConfigError, match="circle"):
        best_order([task("a", after="b"), task("b", after="a"), task("c")], {})


def test_a_circle_is_refused_where_there_are_too_many_states(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(order, "MAX_STATES", 0)
    free = [task(f"t{index}", "", f"v{index}") for index in range(3)]
    with pytest.raises(ConfigError, match="circle"):
        best_order([*free, task("a", after="b"), task("b", after="a")], {f"v{index}": 1 for index in range(3)})
