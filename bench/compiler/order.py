"""A legal order of kernel calls that keeps the most bytes that live at once as few as it finds.

What lives depends only on the set of calls that have run, not on their order. So the orders of a schedule are the paths
through the lattice of its downsets (sets that hold, with a call, all that comes before it), a path costs its fullest
moment, and the best order is a bottleneck shortest path: the states are visited in the order of the fullest moment on
the way to them, the emptiest first, and the first path to the full set is optimal. A training step is nearly a chain,
so its lattice is small: every step of the zoo has well below ten thousand states. Where a network has wide parallel
branches the search ends at `MAX_STATES`, and a beam search takes over: not proved, and never worse than the order that
was given.
"""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bench.errors import ConfigError

MAX_STATES = 60_000
BEAM_WIDTH = 64


@dataclass(frozen=True)
class Task:
    """A call: the values it reads and writes, and the calls that must have run.

    `may_alias` pairs (written, read): the written value may take the read one's memory if it dies with this task.
    `scratch` bytes live only while the task runs.
    """

    name: str
    reads: frozenset[str]
    writes: frozenset[str]
    after: frozenset[str] = frozenset()
    may_alias: tuple[tuple[str, str], ...] = ()
    scratch: int = 0


def best_order(tasks: Sequence[Task], sizes: Mapping[str, int], kept: frozenset[str] = frozenset()) -> tuple[str, ...]:
    """Names of the tasks in the best order found.

    Args:
        tasks: in any order; `reads` of a value that no task writes are inputs, which live from the start.
        sizes: bytes of each value.
        kept: values that live to the end.

    Raises:
        ConfigError: the tasks wait for each other in a circle.
    """
    if not tasks:
        return ()
    lattice = _Lattice(tasks, sizes, kept)
    path = lattice.exact()
    if path is None:
        path = min((lattice.given(), lattice.beam()), key=lattice.fullest)
    return tuple(tasks[index].name for index in path)


def moments(tasks: Sequence[Task], sizes: Mapping[str, int]) -> list[int]:
    """Bytes that live while each task runs, in the order given, which must be legal."""
    return _Lattice(tasks, sizes, frozenset()).moments(range(len(tasks)))


class _Lattice:
    """Downsets as bit masks: bit i says that task i has run."""

    def __init__(self, tasks: Sequence[Task], sizes: Mapping[str, int], kept: frozenset[str]) -> None:
        self.tasks = tasks
        self.full = (1 << len(tasks)) - 1
        number = {task.name: index for index, task in enumerate(tasks)}
        writer = {value: index for index, task in enumerate(tasks) for value in task.writes}
        self.before = [0] * len(tasks)
        for index, task in enumerate(tasks):
            for name in task.after:
                self.before[index] |= 1 << number[name]
            for value in task.reads:
                if value in writer:
                    self.before[index] |= 1 << writer[value]
        self.sizes = sizes
        self.readers: dict[str, int] = {value: 0 for task in tasks for value in (*task.reads, *task.writes)}
        for index, task in enumerate(tasks):
            for value in task.reads:
                self.readers[value] |= 1 << index
        for value in kept:
            self.readers[value] = self.readers.get(value, 0) | 1 << len(tasks)  # a reader that never runs
        self.inputs = sum(sizes[value] for value in self.readers if value not in writer)

    def step(self, done: int, live: int, index: int) -> tuple[int, int]:
        """Bytes at the fullest moment of a task that runs now, and bytes that live behind it."""
        task = self.tasks[index]
        after = done | 1 << index
        written = sum(self.sizes[value] for value in task.writes)
        dying = {value for value in task.reads if not self.readers[value] & ~after}
        shared = 0
        taken: set[str] = set()
        for target, source in task.may_alias:
            if source in dying and source not in taken and target not in taken and self._fits(target, source):
                shared += self.sizes[target]
                taken |= {target, source}
        unread = sum(self.sizes[value] for value in task.writes if not self.readers[value] & ~after)
        moment = live + written - shared + task.scratch
        return moment, live + written - unread - sum(self.sizes[value] for value in dying)

    def _fits(self, target: str, source: str) -> bool:
        return self.sizes[target] <= self.sizes[source]

    def ready(self, done: int) -> list[int]:
        """Tasks that can run now."""
        return [i for i, before in enumerate(self.before) if not done >> i & 1 and before & done == before]

    def exact(self) -> list[int] | None:
        """The best path, or None where the lattice is too large."""
        best: dict[int, int] = {0: self.inputs}
        came: dict[int, tuple[int, int]] = {}
        # Ties go to the state in which more has run: straight on, like a depth-first search.
        queue = [(self.inputs, 0, 0, self.inputs)]
        while queue:
            fullest, _, done, live = heapq.heappop(queue)
            if done == self.full:
                return self._path(came, done)
            if fullest > best[done]:
                continue
            ready = self.ready(done)
            if not ready:
                raise ConfigError("kernel calls wait for each other in a circle")
            for index in ready:
                moment, left = self.step(done, live, index)
                state, cost = done | 1 << index, max(fullest, moment)
                if cost < best.get(state, cost + 1):
                    best[state] = cost
                    came[state] = (done, index)
                    heapq.heappush(queue, (cost, -state.bit_count(), state, left))
            if len(best) > MAX_STATES:
                return None
        return None

    def beam(self) -> list[int]:
        """The best of the paths that stay among the `BEAM_WIDTH` best states of each length."""
        front: dict[int, tuple[int, int, list[int]]] = {0: (self.inputs, self.inputs, [])}
        for _ in self.tasks:
            following: dict[int, tuple[int, int, list[int]]] = {}
            for done, (fullest, live, path) in front.items():
                for index in self.ready(done):
                    moment, left = self.step(done, live, index)
                    state, cost = done | 1 << index, max(fullest, moment)
                    if state not in following or cost < following[state][0]:
                        following[state] = (cost, left, [*path, index])
            front = dict(sorted(following.items(), key=lambda item: item[1][:2])[:BEAM_WIDTH])
        return next(iter(front.values()))[2]

    def given(self) -> list[int]:
        """The first task that can run, again and again."""
        path: list[int] = []
        done = 0
        while done != self.full:
            ready = self.ready(done)
            if not ready:
                raise ConfigError("kernel calls wait for each other in a circle")
            path.append(ready[0])
            done |= 1 << ready[0]
        return path

    def moments(self, path: Sequence[int]) -> list[int]:
        """Bytes that live at each task of a path."""
        done, live, found = 0, self.inputs, []
        for index in path:
            moment, live = self.step(done, live, index)
            done |= 1 << index
            found.append(moment)
        return found

    def fullest(self, path: Sequence[int]) -> int:
        """Bytes at a path's fullest moment."""
        return max([self.inputs, *self.moments(path)])

    @staticmethod
    def _path(came: Mapping[int, tuple[int, int]], state: int) -> list[int]:
        path = []
        while state:
            state, index = came[state]
            path.append(index)
        return path[::-1]
