"""Who is asked to train, and when what has come is enough.

A `Participation` is configuration; its `begin` makes the `Scheduler` of one run. After each event the core asks its
scheduler what to do now. Neither does anything itself, and neither sees a weight.

* `Rounds`: synchronous. A round asks some clients, chosen at random, and ends when enough have answered, when all have
  answered or failed, or at its deadline; whoever is still working is then cancelled.
* `Continuous`: asynchronous. A fixed number of clients is kept at work; the server steps when its buffer is full.
"""

from __future__ import annotations

import itertools
import math
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from bench.errors import ConfigError
from bench.federation.pool import Pool, Seat, Standing


@dataclass(slots=True)
class Job:
    """An open job: whose, the version that it began from, and until when its answer is waited for."""

    number: int
    seat: Seat
    version: int
    deadline: float | None


@dataclass(slots=True)
class Decision:
    """What to do now, in this order: cancel jobs, step, or else give `assign` work until `deadline`.

    After a step or a cancelled job the scheduler is asked again. `wake` is when it wants to be asked even if nothing
    has happened.
    """

    cancel: Sequence[int] = ()
    step: bool = False
    assign: Sequence[Seat] = ()
    deadline: float | None = None
    wake: float | None = None


class Scheduler(Protocol):
    """The running part of a participation; its clients are those of the pool that it was made with."""

    def decide(self, now: float, jobs: Mapping[int, Job], received: int) -> Decision:
        """What to do, given the open jobs, in the order of their numbers, and how many updates wait in the buffer."""
        ...

    def assigned(self, job: Job) -> None:
        """A client that `decide` named has been given this job."""
        ...

    def answered(self, seat: Seat) -> None:
        """A client's update was taken: what it does next is the scheduler's."""
        ...

    def failed(self, seat: Seat) -> None:
        """A client's job came to nothing, but the client is still there."""
        ...

    def joined(self, seat: Seat) -> None:
        """A client that is not at work is there, for the first time or again."""
        ...

    def stepped(self) -> None:
        """The buffer is empty again."""
        ...

    def to_state(self) -> dict[str, Any]:
        """As JSON can hold it."""
        ...

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Takes up what `to_state` gave."""
        ...


class Participation(Protocol):
    """How clients take part."""

    @property
    def max_staleness(self) -> int | None:
        """Updates that are older, in server steps, are dropped."""
        ...

    def begin(self, pool: Pool, capacity: int | None) -> Scheduler:
        """The scheduler of a run whose strategy steps after `capacity` updates, or when a round ends (None).

        Raises ConfigError for a strategy that does not go with it.
        """
        ...


@dataclass(frozen=True, slots=True)
class Rounds:
    """Synchronous rounds (McMahan et al. 2017; over-selection and deadline after Bonawitz et al. 2019, section 2).

    A round asks ceil(`clients` · (1 + `over_selection`)) clients, or as many as are free, and takes the first `clients`
    answers. At `deadline_s` it goes on with what has come if that is at least `min_clients`; if not, it waits for as
    long again, and gives the place of clients that failed to others.
    """

    clients: int
    over_selection: float = 0.0
    deadline_s: float | None = None
    min_clients: int = 1

    @property
    def max_staleness(self) -> int | None:
        """None: no job outlives its round."""
        return None

    @property
    def asked(self) -> int:
        """Clients that a round asks; the tolerance is for products like 100 · 1.1."""
        return math.ceil(self.clients * (1 + self.over_selection) - 1e-9)

    def begin(self, pool: Pool, capacity: int | None) -> Scheduler:
        """Raises ConfigError for a strategy with a buffer of its own, and where no round could ever be enough."""
        if capacity is not None:
            raise ConfigError("this strategy steps when its buffer is full; in rounds, a step is what ends a round")
        if not 1 <= self.min_clients <= self.clients:
            raise ConfigError(f"min_clients is {self.min_clients}, not from 1 to the {self.clients} clients of a round")
        return _RoundScheduler(self, pool)


@dataclass(frozen=True, slots=True)
class Continuous:
    """Keeps `concurrency` clients at work; whoever has answered is free to be chosen again.

    A job that takes longer than `deadline_s` is cancelled; updates older than `max_staleness` server steps are dropped.
    """

    concurrency: int
    max_staleness: int | None = None
    deadline_s: float | None = None

    def begin(self, pool: Pool, capacity: int | None) -> Scheduler:
        """Raises ConfigError for a strategy without a buffer."""
        if capacity is None:
            raise ConfigError("this strategy steps when a round ends; clients that work continuously need a buffer")
        return _ContinuousScheduler(self, pool, capacity)


class _RoundScheduler:
    def __init__(self, rounds: Rounds, pool: Pool) -> None:
        self._rounds = rounds
        self._pool = pool
        self._open = False
        self._deadline: float | None = None
        self._answered: list[Seat] = []
        self._failed: list[Seat] = []

    def decide(self, now: float, jobs: Mapping[int, Job], received: int) -> Decision:
        rounds = self._rounds
        if not self._open:
            if self._pool.free < rounds.min_clients:
                return Decision()  # until someone joins
            self._open = True
            self._extend(now)
            return self._ask(rounds.asked, jobs)
        late = self._deadline is not None and now >= self._deadline
        if received >= rounds.clients or (received >= rounds.min_clients and (late or not jobs)):
            return Decision(cancel=list(jobs), step=True)
        if late:
            self._extend(now)
        if late or not jobs:
            return self._ask(rounds.asked - received - len(jobs), jobs)
        return Decision(wake=self._deadline)

    def assigned(self, job: Job) -> None:
        pass

    def answered(self, seat: Seat) -> None:
        self._pool.stand(seat, Standing.RESTING)
        self._answered.append(seat)

    def failed(self, seat: Seat) -> None:
        self._pool.stand(seat, Standing.RESTING)
        self._failed.append(seat)

    def joined(self, seat: Seat) -> None:
        again = seat in self._answered  # has had its part in this round
        self._pool.stand(seat, Standing.RESTING if again else Standing.FREE)

    def stepped(self) -> None:
        self._release(self._answered)
        self._release(self._failed)
        self._open = False
        self._deadline = None

    def to_state(self) -> dict[str, Any]:
        return {
            "open": self._open,
            "deadline": self._deadline,
            "answered": [seat.name for seat in self._answered],
            "failed": [seat.name for seat in self._failed],
        }

    def load_state(self, state: Mapping[str, Any]) -> None:
        self._open = state["open"]
        self._deadline = state["deadline"]
        self._answered = [self._pool[name] for name in state["answered"]]
        self._failed = [self._pool[name] for name in state["failed"]]

    def _extend(self, now: float) -> None:
        allowed = self._rounds.deadline_s
        self._deadline = None if allowed is None else now + allowed

    def _ask(self, count: int, jobs: Mapping[int, Job]) -> Decision:
        if self._pool.free < count:  # those that failed in this round get another chance only where others lack
            self._release(self._failed)
        chosen = [self._pool.choose() for _ in range(min(count, self._pool.free))]
        # With nobody at work only a client that joins can change anything: no timer then, or it would go on for ever.
        return Decision(assign=chosen, deadline=self._deadline, wake=self._deadline if chosen or jobs else None)

    def _release(self, seats: list[Seat]) -> None:
        for seat in seats:
            if seat.standing is Standing.RESTING:  # it may have left meanwhile
                self._pool.stand(seat, Standing.FREE)
        seats.clear()


class _ContinuousScheduler:
    def __init__(self, continuous: Continuous, pool: Pool, capacity: int) -> None:
        self._continuous = continuous
        self._pool = pool
        self._capacity = capacity
        self._deadlines: deque[tuple[float, int]] = deque()  # of jobs, some closed by now; all wait equally long

    def decide(self, now: float, jobs: Mapping[int, Job], received: int) -> Decision:
        late = self._late(now, jobs) if self._deadlines else []
        if late or received >= self._capacity:
            return Decision(cancel=late, step=received >= self._capacity)  # late clients are free only after that
        count = min(self._continuous.concurrency - len(jobs), self._pool.free)
        chosen = [self._pool.choose() for _ in range(count)]
        allowed = self._continuous.deadline_s
        deadline = None if allowed is None else now + allowed
        first = self._deadlines[0][0] if self._deadlines else deadline if chosen else None
        return Decision(assign=chosen, deadline=deadline, wake=first)

    def assigned(self, job: Job) -> None:
        if job.deadline is not None:
            self._deadlines.append((job.deadline, job.number))

    def answered(self, seat: Seat) -> None:
        self._pool.stand(seat, Standing.FREE)

    failed = answered
    joined = answered

    def stepped(self) -> None:
        pass

    def to_state(self) -> dict[str, Any]:
        return {"deadlines": list(self._deadlines)}

    def load_state(self, state: Mapping[str, Any]) -> None:
        self._deadlines = deque((deadline, number) for deadline, number in state["deadlines"])

    def _late(self, now: float, jobs: Mapping[int, Job]) -> list[int]:
        deadlines = self._deadlines
        while deadlines and deadlines[0][1] not in jobs:
            deadlines.popleft()
        waiting = itertools.takewhile(lambda entry: entry[0] <= now, deadlines)
        return [number for _, number in waiting if number in jobs]
