"""The federation as a state machine: events in, actions out, the same for the same events.

It knows neither boards nor networks, threads nor clocks: whoever runs it feeds it events with a time, in order, and
carries out the actions that come back, in order. Each job is counted once, however often it is answered.

Versions count server steps. Only the current version's weights are kept: an update brings its change along with the
version that it began from, and whoever carries out an `Assign` keeps the weights it was made with for as long as it
needs them. They are `Core.weights` when `handle` returns; a step makes a new array and leaves that one as it was.

Memory is a fixed amount for each client, and the vectors in the buffer.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.errors import ConfigError
from bench.federation.events import (
    Action,
    Assign,
    Cancel,
    Entry,
    Event,
    Excluded,
    Failed,
    Finished,
    Form,
    Joined,
    Left,
    ReceivedVector,
    Refusal,
    Refused,
    SetTimer,
    Started,
    Stepped,
    Timer,
    Update,
    Vector,
)
from bench.federation.participation import Decision, Job, Participation
from bench.federation.pool import End, Pool, Seat, Standing
from bench.federation.snapshot import pack, unpack
from bench.federation.strategies.base import Received, Strategy

_LARGEST = float(np.finfo(np.float32).max)
"""No parameter of a board is larger, and sums of such numbers stay finite in float64."""

_STATE_VERSION = 2


@dataclass(frozen=True, slots=True)
class Stop:
    """When it is over, whichever comes first: server steps, accepted updates, seconds since Started. None: never."""

    steps: int | None = None
    updates: int | None = None
    time_s: float | None = None


@dataclass(frozen=True, slots=True)
class Limits:
    """What clients may do: claim at most so many `samples`, change the model by at most this Euclidean `norm`, and fail
    fewer than `failures` times in a row."""

    samples: int | None = None
    norm: float | None = None
    failures: int = 3


class Core:
    """One federation. `handle` is all there is to running it."""

    def __init__(
        self,
        strategy: Strategy,
        participation: Participation,
        weights: Vector,
        clients: Iterable[str],
        seed: int,
        stop: Stop = Stop(),
        limits: Limits = Limits(),
        average: float = 0.0,
    ) -> None:
        """`weights` [parameters] are copied; `clients`, if any, are there from the start, and others may join.
        `average`, from 0 to below 1, is what a step leaves of `model`, the running mean of the weights.

        Raises ConfigError: two clients of one name, weights that are not finite numbers in one row, or a strategy that
        does not go with the participation.
        """
        start = np.array(weights, dtype=np.float64)
        if start.ndim != 1 or not start.size or not np.isfinite(start).all():
            raise ConfigError("a federation begins with a row of finite weights")
        pool = Pool(seed)
        pool.add(clients)
        for seat in pool:
            pool.stand(seat, Standing.FREE)
        self._set_up(strategy, participation, pool, stop, limits, average)
        self._weights = self._model = _frozen(start)

    def _set_up(
        self,
        strategy: Strategy,
        participation: Participation,
        pool: Pool,
        stop: Stop,
        limits: Limits,
        average: float,
    ) -> None:
        self._fingerprint = repr((strategy, participation, stop, limits, average))
        self._average = average
        self._strategy = strategy
        self._form = strategy.form
        self._options = strategy.client_options
        self._needs_variance = strategy.needs_variance
        self._max_staleness = participation.max_staleness
        self._pool = pool
        self._scheduler = participation.begin(pool, strategy.capacity)
        self._stop = stop
        self._limits = limits
        self._version = 0
        self._updates = 0
        self._jobs: dict[int, Job] = {}
        self._next_job = 1
        self._buffer: list[Received] = []
        self._discarded: Counter[str] = Counter()
        self._now = -math.inf
        self._began: float | None = None
        self._end = math.inf
        self._timer: float | None = None
        self._finished: str | None = None
        self._handlers: dict[type, Callable[[Any, list[Action]], None]] = {
            Started: self._start,
            Update: self._receive,
            Failed: self._fail,
            Joined: self._join,
            Left: self._leave,
            Timer: self._wake,
        }

    @property
    def weights(self) -> Vector:
        """Of the current version, [parameters]; read-only."""
        return self._weights

    @property
    def model(self) -> Vector:
        """What the federation has to show, [parameters]; read-only. Clients begin from `weights`; this is their running
        mean over the versions (Polyak and Juditsky 1992), m ← β m + (1 − β) w with β = min(average, (n − 1) / n) at
        step n, so the first steps weigh alike. Without an average it is the weights themselves."""
        return self._model

    @property
    def version(self) -> int:
        """Server steps made."""
        return self._version

    @property
    def updates(self) -> int:
        """Updates accepted."""
        return self._updates

    @property
    def finished(self) -> str | None:
        """Why it is over, None while it is not."""
        return self._finished

    @property
    def working(self) -> int:
        """Jobs that are open. 0 in a federation that has begun and not finished: it waits for a client to join."""
        return len(self._jobs)

    def open_jobs(self) -> list[Assign]:
        """Open jobs as they were assigned, oldest first: what to do again, or to report as failed, after a restart."""
        return [self._assignment(job) for job in self._jobs.values()]

    def handle(self, event: Event) -> list[Action]:
        """What is to be done now that this has happened.

        Raises ValueError for a mistake of the caller: a time before the last event's, or Started twice.
        """
        if not self._now <= event.at < math.inf:
            raise ValueError(f"{type(event).__name__} at {event.at} s comes after an event at {self._now} s")
        self._now = event.at
        actions: list[Action] = []
        if self._finished is None and self._now >= self._end:
            self._finish("time", actions)
        if self._finished is not None:
            if isinstance(event, Update):
                self._refuse(event, Refusal.FINISHED, "", actions)
            return actions
        self._handlers[type(event)](event, actions)
        if self._began is not None:
            self._advance(actions)
        return actions

    def to_state(self) -> dict[str, Any]:
        """All of it as JSON can hold it. A core made from it gives the same actions for the same events."""
        return {
            "state_version": _STATE_VERSION,
            "configuration": self._fingerprint,
            "weights": pack(self._weights),
            "model": pack(self._model),
            "version": self._version,
            "updates": self._updates,
            "next_job": self._next_job,
            "jobs": [[job.number, job.seat.name, job.version, job.deadline] for job in self._jobs.values()],
            "buffer": [
                [entry.client, entry.job, entry.staleness, entry.samples, entry.variance, pack(entry.vector)]
                for entry in self._buffer
            ],
            "discarded": dict(self._discarded),
            "now": None if self._now == -math.inf else self._now,
            "began": self._began,
            "timer": self._timer,
            "finished": self._finished,
            "pool": self._pool.to_state(),
            "scheduler": self._scheduler.to_state(),
        }

    @classmethod
    def from_state(
        cls,
        state: Mapping[str, Any],
        strategy: Strategy,
        participation: Participation,
        stop: Stop = Stop(),
        limits: Limits = Limits(),
        average: float = 0.0,
    ) -> Core:
        """The core that `to_state` was asked of. Raises ConfigError when its configuration was another."""
        core = cls.__new__(cls)
        pool = Pool.from_state(state["pool"])
        core._set_up(strategy, participation, pool, stop, limits, average)
        if (state["state_version"], state["configuration"]) != (_STATE_VERSION, core._fingerprint):
            raise ConfigError(
                f"this federation was begun as {state['configuration']}, and cannot go on as {core._fingerprint}"
            )
        core._weights = _frozen(unpack(state["weights"]))
        core._model = _frozen(unpack(state["model"])) if average else core._weights
        core._version, core._updates = state["version"], state["updates"]
        core._next_job = state["next_job"]
        for number, client, version, deadline in state["jobs"]:
            core._jobs[number] = Job(number, pool[client], version, deadline)
        core._buffer = [
            Received(client, job, staleness, samples, variance, unpack(vector))
            for client, job, staleness, samples, variance, vector in state["buffer"]
        ]
        core._discarded = Counter(state["discarded"])
        core._now = -math.inf if state["now"] is None else state["now"]
        core._timer, core._finished = state["timer"], state["finished"]
        if state["began"] is not None:
            core._begin(state["began"])
        core._scheduler.load_state(state["scheduler"])
        return core

    # Events

    def _start(self, event: Started, _: list[Action]) -> None:
        if self._began is not None:
            raise ValueError("a federation is started once")
        self._begin(event.at)

    def _begin(self, at: float) -> None:
        self._began = at
        if self._stop.time_s is not None:
            self._end = at + self._stop.time_s

    def _receive(self, update: Update, actions: list[Action]) -> None:
        """Either takes it or refuses it; whichever it is, its job is closed if it is the client's own open one."""
        job = self._jobs.get(update.job)
        if job is None or job.seat.name != update.client:
            self._refuse(update, self._why_not_open(update, job), "", actions)
            return
        seat = job.seat
        problem = self._problem(update, job)
        staleness = self._version - job.version
        if problem is not None:
            self._close(job, End.LOST)
            self._refuse(update, *problem, actions)
            self._count_failure(seat, actions)
            return
        seat.failures = 0
        if self._max_staleness is not None and staleness > self._max_staleness:
            self._close(job, End.ANSWERED)
            self._refuse(update, Refusal.STALE, f"{staleness} steps, {self._max_staleness} are allowed", actions)
            self._scheduler.failed(seat)
            return
        self._close(job, End.ANSWERED)
        vector = _frozen(np.array(update.vector))
        variance = None
        if self._needs_variance:
            variance = _variance(vector) if update.variance is None else float(update.variance)
        self._buffer.append(Received(seat.name, job.number, staleness, update.samples, variance, vector))
        self._updates += 1
        self._scheduler.answered(seat)

    def _fail(self, event: Failed, actions: list[Action]) -> None:
        job = self._jobs.get(event.job)
        if job is None or job.seat.name != event.client:
            return  # a job that is over can fail no more
        self._close(job, End.LOST)
        self._discarded["job failed"] += 1
        self._count_failure(job.seat, actions)

    def _join(self, event: Joined, actions: list[Action]) -> None:
        seat = self._pool.get(event.client)
        if seat is None:
            self._pool.add([event.client])
            seat = self._pool[event.client]
        if seat.job:
            self._lose(seat, actions)
        seat.failures = 0
        self._scheduler.joined(seat)

    def _leave(self, event: Left, actions: list[Action]) -> None:
        seat = self._pool.get(event.client)
        if seat is None:
            return
        if seat.job:
            self._lose(seat, actions)
        self._pool.stand(seat, Standing.AWAY)

    def _wake(self, _: Timer, __: list[Action]) -> None:
        """What is due is decided after each event."""

    # What follows

    def _advance(self, actions: list[Action]) -> None:
        while True:
            decision = self._scheduler.decide(self._now, self._jobs, len(self._buffer))
            for number in decision.cancel:
                self._cancel(self._jobs[number], actions)
            if decision.step:
                self._step(actions)
            if (reason := self._reached()) is not None:
                self._finish(reason, actions)
                return
            if not (decision.step or decision.cancel):
                break
        self._assign(decision, actions)
        self._set_timer(decision.wake, actions)

    def _assign(self, decision: Decision, actions: list[Action]) -> None:
        for seat in decision.assign:
            job = Job(self._next_job, seat, self._version, decision.deadline)
            self._next_job += 1
            self._jobs[job.number] = job
            seat.job = job.number
            self._scheduler.assigned(job)
            actions.append(self._assignment(job))

    def _assignment(self, job: Job) -> Assign:
        return Assign(job.seat.name, job.number, job.version, job.deadline, self._form, self._options)

    def _step(self, actions: list[Action]) -> None:
        step = self._strategy.step(self._weights, self._buffer)
        self._weights = _frozen(step.weights)
        self._version += 1
        kept = min(self._average, (self._version - 1) / self._version)
        self._model = _frozen(kept * self._model + (1 - kept) * self._weights) if kept else self._weights
        entries = [
            Entry(update.client, update.job, update.staleness, update.samples, update.variance, factor)
            for update, factor in zip(step.updates, step.factors.tolist(), strict=True)
        ]
        actions.append(Stepped(self._now, self._version, tuple(entries), dict(self._discarded)))
        self._buffer.clear()
        self._discarded.clear()
        self._scheduler.stepped()

    def _set_timer(self, wake: float | None, actions: list[Action]) -> None:
        """One that comes too early does no harm, so a timer that is set is only ever moved forward."""
        if self._timer is not None and self._timer <= self._now:
            self._timer = None
        due = self._end if wake is None else min(wake, self._end)
        if due < math.inf and (self._timer is None or due < self._timer):
            self._timer = due
            actions.append(SetTimer(due))

    def _reached(self) -> str | None:
        if self._stop.steps is not None and self._version >= self._stop.steps:
            return "steps"
        if self._stop.updates is not None and self._updates >= self._stop.updates:
            return "updates"
        return None

    def _finish(self, reason: str, actions: list[Action]) -> None:
        for job in list(self._jobs.values()):
            self._cancel(job, actions)
        self._finished = reason
        actions.append(Finished(self._now, self._version, self._updates, len(self._buffer), reason))

    # Jobs

    def _cancel(self, job: Job, actions: list[Action]) -> None:
        self._close(job, End.CANCELLED)
        self._pool.stand(job.seat, Standing.FREE)
        self._discarded["job cancelled"] += 1
        actions.append(Cancel(job.seat.name, job.number))

    def _lose(self, seat: Seat, actions: list[Action]) -> None:
        actions.append(Cancel(seat.name, seat.job))
        self._close(self._jobs[seat.job], End.LOST)
        self._discarded["job lost"] += 1
        self._pool.stand(seat, Standing.AWAY)

    def _close(self, job: Job, end: End) -> None:
        del self._jobs[job.number]
        job.seat.job = 0
        job.seat.last_job = job.number
        job.seat.ended = end

    def _count_failure(self, seat: Seat, actions: list[Action]) -> None:
        seat.failures += 1
        if seat.failures < self._limits.failures:
            self._scheduler.failed(seat)
            return
        self._pool.stand(seat, Standing.AWAY)
        actions.append(Excluded(seat.name, seat.failures))

    def _refuse(self, update: Update, reason: Refusal, detail: str, actions: list[Action]) -> None:
        self._discarded[reason.value] += 1
        actions.append(Refused(update.client, update.job, reason, detail))

    def _why_not_open(self, update: Update, job: Job | None) -> Refusal:
        seat = self._pool.get(update.client)
        if seat is None:
            return Refusal.UNKNOWN_CLIENT
        if job is not None:
            return Refusal.WRONG_CLIENT
        if not 1 <= update.job < self._next_job:
            return Refusal.UNKNOWN_JOB
        if update.job != seat.last_job:
            return Refusal.CLOSED
        return _ENDED[seat.ended]

    def _problem(self, update: Update, job: Job) -> tuple[Refusal, str] | None:
        """Why an update must not reach the model. O(parameters)."""
        if update.version > self._version:
            return Refusal.FUTURE, f"version {update.version}, the newest is {self._version}"
        if update.version != job.version:
            return Refusal.WRONG_VERSION, f"version {update.version}, the job's is {job.version}"
        if update.form is not self._form:
            return Refusal.FORM, f"{update.form}, not {self._form}"
        vector = update.vector
        if not isinstance(vector, np.ndarray) or vector.dtype not in (np.float32, np.float64):
            return Refusal.LENGTH, "not an array of float32 or float64"
        if vector.shape != self._weights.shape:
            return Refusal.LENGTH, f"shape {vector.shape}, the model's is {self._weights.shape}"
        if not (vector.min() >= -_LARGEST and vector.max() <= _LARGEST):  # both false for a NaN
            return Refusal.NOT_FINITE, ""
        most = math.inf if self._limits.samples is None else self._limits.samples
        if type(update.samples) is not int or not 1 <= update.samples <= most:
            return Refusal.SAMPLES, f"{update.samples}, from 1 to {most} are allowed"
        if update.variance is not None and not 0.0 <= update.variance < math.inf:
            return Refusal.VARIANCE, f"{update.variance}"
        if self._limits.norm is not None and (norm := self._norm(update)) > self._limits.norm:
            return Refusal.NORM, f"{norm:g}, {self._limits.norm:g} is allowed"
        return None

    def _norm(self, update: Update) -> float:
        change = update.vector if update.form is Form.DELTA else update.vector - self._weights
        return float(np.linalg.norm(change.astype(np.float64)))


_ENDED = {End.ANSWERED: Refusal.DUPLICATE, End.CANCELLED: Refusal.CANCELLED, End.LOST: Refusal.LOST}


def _variance(vector: ReceivedVector) -> float:
    """Over the coordinates; a short vector's takes a third of the time of NumPy's own."""
    values = vector.astype(np.float64)
    values -= values.sum() / values.size
    return float(values.dot(values)) / values.size


def _frozen(vector: NDArray[Any]) -> NDArray[Any]:
    """The same array, which nothing writes to any more."""
    vector.setflags(write=False)
    return vector
