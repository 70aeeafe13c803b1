"""Virtual time: runs a core against clients whose training is computed, in the order in which it would have happened.

A client's answer has a virtual time that may be known only once the answer is computed, but a bound below it is known
when the work begins. Clients compute in threads of their own if they like: the loop waits for a computation only when
its bound is the earliest of all that may come, so the order of events depends on virtual times alone, and never on
which thread was first. Equal times are ordered by the order in which the events were scheduled.
"""

from __future__ import annotations

import heapq
import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, Protocol

from bench.errors import InfrastructureError
from bench.federation.core import Core
from bench.federation.events import (
    Action,
    Assign,
    Cancel,
    Event,
    Failed,
    Finished,
    Form,
    Left,
    SetTimer,
    Started,
    Timer,
    Update,
    Vector,
)
from bench.federation.snapshot import pack, unpack

Observe = Callable[[Event, Sequence[Action]], None]
"""Is told of each event, and what the core made of it."""


class Pending(Protocol):
    """Work that has begun."""

    @property
    def earliest(self) -> float:
        """No answer comes before this virtual time, in seconds."""
        ...

    def finish(self) -> Update | Failed | Left:
        """The answer; its `at` is the exact virtual time, from `earliest` on. Waits until it is computed. It has not
        arrived then, and never does where the work is cancelled before.

        Left: the client has failed, and is not there until something from outside says that it has joined again.
        """
        ...

    def arrived(self) -> None:
        """It is the answer's time, and the server has it."""
        ...

    def cancel(self) -> None:
        """The answer is not wanted any more, whether it is computed or not, and does not arrive."""
        ...


class VirtualClient(Protocol):
    """A client in virtual time."""

    def start(self, job: Assign, weights: Vector, now: float) -> Pending:
        """Begins to train from `weights` [parameters], which nothing changes. Returns at once.

        The answer depends on these arguments alone: after a restart, work that was under way is begun again.
        """
        ...


class Outside(Protocol):
    """Events that are in no script and of no client's pending work: clients that come back, answers in real time."""

    def wait(self, now: float, due: float) -> Event | None:
        """An event with a time from `now` to `due`, or None: nothing comes before `due`.

        `due` is when the loop has something to do, infinity when it has nothing. Whoever keeps real time waits here.
        """
        ...


@dataclass(frozen=True, slots=True)
class Computed:
    """Work in an executor's thread."""

    earliest: float
    future: Future[Update | Failed]

    def finish(self) -> Update | Failed:
        """Waits; raises what the work raised."""
        return self.future.result()

    def arrived(self) -> None:
        """Nothing waits for that."""

    def cancel(self) -> None:
        """Work that has not begun never will."""
        self.future.cancel()


@dataclass(slots=True)
class _Flight:
    """A job under way."""

    job: Assign
    began: float
    sequence: int
    pending: Pending


@dataclass(slots=True)
class _Base:
    """A version's weights, for as long as someone trains from them."""

    weights: Vector
    users: int = 0


@dataclass(order=True, slots=True)
class _Entry:
    """Something that happens at `at`, or, for a flight whose answer is not yet known, not before."""

    at: float
    sequence: int
    event: Event | None = field(compare=False)
    flight: _Flight | None = field(default=None, compare=False)


class Simulation:
    """A core, its clients, and what is still to come.

    `script` has events from outside, such as clients that leave and join, in the order of their times. It is taken one
    at a time, so it may be endless. An event of the script comes before others of the same time. `outside` is asked
    before each event; work whose `earliest` is infinite is answered by it alone.
    """

    def __init__(
        self,
        core: Core,
        clients: Mapping[str, VirtualClient],
        script: Iterable[Event] = (),
        observe: Observe | None = None,
        outside: Outside | None = None,
    ) -> None:
        self.core = core
        self._clients = clients
        self._script: Iterator[Event] = iter(script)
        self._scripted: Event | None = next(self._script, None)
        self._taken = 0  # of the script
        self._observe = observe
        self._outside = outside
        self._queue: list[_Entry] = []
        self._sequence = 0
        self._flights: dict[int, _Flight] = {}
        self._bases: dict[int, _Base] = {}
        self._timer: _Entry | None = None
        self.now = 0.0

    def run(self, limit: int | None = None) -> Finished | None:
        """Goes on until the core has finished, or for `limit` events; returns how it finished, None if it has not.

        Raises InfrastructureError when nothing more can happen: no client works, and none will join.
        """
        for _ in itertools.count() if limit is None else range(limit):
            event = self._next()
            if event is None:
                raise InfrastructureError(
                    f"the federation stands still at {self.now:g} s after {self.core.version} steps: "
                    "no client is at work, and none will join"
                )
            self.now = event.at
            actions = self.core.handle(event)
            self._carry_out(actions)
            if self._observe is not None:
                self._observe(event, actions)
            if actions and isinstance(actions[-1], Finished):
                return actions[-1]
        return None

    def to_state(self) -> dict[str, Any]:
        """Where it stands, as JSON can hold it: the core, and the jobs under way with what they began from."""
        flights = [
            {
                "job": [flight.job.client, flight.job.job, flight.job.version, flight.job.deadline],
                "form": flight.job.form.value,
                "options": dict(flight.job.options),
                "began": flight.began,
                "sequence": flight.sequence,
            }
            for flight in self._flights.values()
        ]
        return {
            "core": self.core.to_state(),
            "now": self.now,
            "taken": self._taken,
            "sequence": self._sequence,
            "timer": None if self._timer is None else [self._timer.at, self._timer.sequence],
            "flights": flights,
            "bases": {str(version): pack(base.weights) for version, base in self._bases.items()},
        }

    @classmethod
    def from_state(
        cls,
        state: Mapping[str, Any],
        core: Core,
        clients: Mapping[str, VirtualClient],
        script: Iterable[Event] = (),
        observe: Observe | None = None,
        outside: Outside | None = None,
    ) -> Simulation:
        """Goes on where `to_state` was asked, with a core made from `state["core"]` and the same script."""
        simulation = cls(core, clients, itertools.islice(script, state["taken"], None), observe, outside)
        simulation.now, simulation._taken = state["now"], state["taken"]
        simulation._sequence = state["sequence"]
        bases = {int(version): unpack(packed) for version, packed in state["bases"].items()}
        for flight in state["flights"]:
            client, number, version, deadline = flight["job"]
            job = Assign(client, number, version, deadline, Form(flight["form"]), flight["options"])
            simulation._fly(job, bases[version], flight["began"], flight["sequence"])
        if state["timer"] is not None:
            simulation._set_timer(*state["timer"])
        return simulation

    # What comes next

    def _next(self) -> Event | None:
        if self._sequence == 0:
            self._sequence = 1
            return Started(self.now)
        while True:
            due = self._due()
            if self._outside is not None and (event := self._outside.wait(self.now, due)) is not None:
                if isinstance(event, Update) and event.job in self._flights:
                    self._arrive(self._flights[event.job])
                return event
            if due == math.inf:
                return None
            if self._scripted is not None and (not self._queue or self._scripted.at <= self._queue[0].at):
                return self._take()
            entry = heapq.heappop(self._queue)
            flight = entry.flight
            if flight is not None:
                if self._flights.get(flight.job.job) is not flight:
                    continue  # cancelled
                if entry.event is None:
                    entry.event = _answer(flight)
                    entry.at = entry.event.at
                    heapq.heappush(self._queue, entry)
                    continue
                self._arrive(flight)
            elif entry is not self._timer:
                continue  # another timer took its place
            else:
                self._timer = None
            return entry.event

    def _due(self) -> float:
        """When the loop has something to do; infinity when it has nothing."""
        scripted = math.inf if self._scripted is None else self._scripted.at
        return min(scripted, self._queue[0].at) if self._queue else scripted

    def _take(self) -> Event | None:
        event, self._scripted = self._scripted, next(self._script, None)
        self._taken += 1
        return event

    # What the core asks for

    def _carry_out(self, actions: Sequence[Action]) -> None:
        for action in actions:
            if isinstance(action, Assign):
                self._fly(action, self.core.weights, self.now, self._number())
            elif isinstance(action, Cancel):
                flight = self._flights.get(action.job)
                if flight is not None:  # it has not answered with something that was refused
                    self._land(flight)
                    flight.pending.cancel()
            elif isinstance(action, SetTimer):
                self._set_timer(action.at, self._number())
        if len(self._queue) > 2 * len(self._flights) + 64:  # mostly cancelled work of slow clients
            self._queue = [entry for entry in self._queue if self._wanted(entry)]
            heapq.heapify(self._queue)

    def _fly(self, job: Assign, weights: Vector, now: float, sequence: int) -> None:
        base = self._bases.setdefault(job.version, _Base(weights))
        base.users += 1
        flight = _Flight(job, now, sequence, self._clients[job.client].start(job, base.weights, now))
        self._flights[job.job] = flight
        heapq.heappush(self._queue, _Entry(max(now, flight.pending.earliest), sequence, None, flight))

    def _arrive(self, flight: _Flight) -> None:
        self._land(flight)
        flight.pending.arrived()

    def _land(self, flight: _Flight) -> None:
        del self._flights[flight.job.job]
        base = self._bases[flight.job.version]
        base.users -= 1
        if not base.users:
            del self._bases[flight.job.version]

    def _set_timer(self, at: float, sequence: int) -> None:
        self._timer = _Entry(at, sequence, Timer(at))
        heapq.heappush(self._queue, self._timer)

    def _number(self) -> int:
        self._sequence += 1
        return self._sequence

    def _wanted(self, entry: _Entry) -> bool:
        if entry.flight is None:
            return entry is self._timer
        return self._flights.get(entry.flight.job.job) is entry.flight


def _answer(flight: _Flight) -> Update | Failed | Left:
    """Raises ValueError where a client breaks its promise: events before that time may have been handled already."""
    answer = flight.pending.finish()
    if not max(flight.began, flight.pending.earliest) <= answer.at < math.inf:
        raise ValueError(
            f"{flight.job.client}: an answer at {answer.at} s, "
            f"after it was promised not to come before {flight.pending.earliest} s"
        )
    return answer


def run(
    core: Core, clients: Mapping[str, VirtualClient], script: Iterable[Event] = (), observe: Observe | None = None
) -> Finished:
    """Runs a federation to its end. Raises InfrastructureError when it can never end, see Simulation.run."""
    finished = Simulation(core, clients, script, observe).run()
    assert finished is not None  # without a limit
    return finished
