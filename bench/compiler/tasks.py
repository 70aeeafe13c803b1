"""A schedule as the planner of orders sees it: tasks that read and write values of so many bytes."""

from __future__ import annotations

from collections.abc import Mapping

from bench.compiler.differentiate import Call, Schedule, Value
from bench.compiler.order import Task

ALIGNMENT = 4


def tasks_of(schedule: Schedule) -> tuple[list[Task], dict[str, int]]:
    """The calls as tasks, and the bytes of each value."""
    sizes = {value.name: rounded(value.bytes) for value in schedule.values.values()}
    return [_task(call, schedule.values) for call in schedule.calls], sizes


def _task(call: Call, values: Mapping[str, Value]) -> Task:
    may_alias = [
        (call.writes[written], call.reads[read])
        for written, read in call.in_place
        if same_size(values, call.writes[written], call.reads[read])
    ]
    lead = 0
    if call.overlay is not None:
        written, read, lead = call.overlay
        may_alias.append((written, read))
    return Task(
        call.name,
        reads=frozenset(call.reads.values()),
        writes=frozenset(call.writes.values()),
        after=frozenset(call.after),
        may_alias=tuple(may_alias),
        scratch=call.scratch + lead,
    )


def same_size(values: Mapping[str, Value], target: str, source: str) -> bool:
    """A smaller value would keep all of the larger one's bytes for as long as it lives: it is placed by itself."""
    return rounded(values[target].bytes) == rounded(values[source].bytes)


def rounded(size: int) -> int:
    """Bytes that a value takes."""
    return -(-size // ALIGNMENT) * ALIGNMENT
