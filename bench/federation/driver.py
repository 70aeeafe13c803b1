"""Drives clients at the same time, each in a thread of its own, and never waits for one longer than it said.

A client that fails, or has not answered by the deadline, is dropped: it is told to stop, and once its thread has let
go of it, it is recovered in the background. Until then it is not ready and nothing is asked of it, so a thread that
ignores being cancelled holds up its own client alone. What it still sends is not looked at.
"""

from __future__ import annotations

import enum
import queue
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from bench.errors import BenchError, ConfigError, DeviceError
from bench.federation.client import Client, TrainJob, Update
from bench.federation.observer import Observer

Accepted = TypeVar("Accepted")

_CANCEL_GRACE_S = 5.0  # for cancelled clients to let go, all together, when the run ends
_FAILURES = 3  # in a row, after which a client is left out for the rest of the run


class _State(enum.Enum):
    READY = enum.auto()
    WORKING = enum.auto()
    RECOVERING = enum.auto()
    OUT = enum.auto()


@dataclass
class _Seat:
    """A client, and how it stands. `state` changes only under the driver's lock."""

    client: Client
    state: _State = _State.READY
    failures: int = 0
    trouble: str = ""
    thread: threading.Thread | None = None


@dataclass
class Outcome(Generic[Accepted]):
    """Of one drive: what was accepted from whom, and why the others were dropped."""

    accepted: dict[str, Accepted] = field(default_factory=dict)
    dropped: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Departure:
    """A client that is left out for the rest of the run."""

    client: str
    reason: str


class Driver:
    """The cohort, between and during rounds. Its methods are called from one thread."""

    def __init__(self, clients: Sequence[Client], deadline_s: float, observer: Observer) -> None:
        """`deadline_s` is wall time for one drive. Raises ConfigError: two clients of one name, or one without data."""
        self._seats = {client.name: _Seat(client) for client in sorted(clients, key=lambda client: client.name)}
        if len(self._seats) != len(clients):
            names = [client.name for client in clients]
            twice = sorted({name for name in names if names.count(name) > 1})
            raise ConfigError(f"clients need names of their own: {', '.join(twice)}")
        if empty := [name for name, seat in self._seats.items() if seat.client.capacity < 1]:
            raise ConfigError(f"clients without samples cannot train: {', '.join(empty)}")
        self._deadline_s = deadline_s
        self._observer = observer
        self._changed = threading.Condition()
        self._departures: queue.SimpleQueue[Departure] = queue.SimpleQueue()
        self._stopped = False

    @property
    def names(self) -> list[str]:
        """All clients, sorted."""
        return list(self._seats)

    def client(self, name: str) -> Client:
        """A client by its name."""
        return self._seats[name].client

    def select(self, needed: int, without: Sequence[str] = ()) -> list[str]:
        """The clients that are ready, sorted; when there are fewer than `needed`, waits for those in recovery.

        Waits for the deadline at most, so the result may still be too short. `without` are not wanted.
        """
        deadline = time.monotonic() + self._deadline_s
        wanted = [seat for name, seat in self._seats.items() if name not in without]
        with self._changed:
            while True:
                ready = [seat.client.name for seat in wanted if seat.state is _State.READY]
                recovering = any(seat.state is _State.RECOVERING for seat in wanted)
                left = deadline - time.monotonic()
                if len(ready) >= needed or not recovering or left <= 0:
                    return ready
                self._changed.wait(timeout=left)

    def drive(self, jobs: Mapping[str, TrainJob], accept: Callable[[str, Update], Accepted]) -> Outcome[Accepted]:
        """Has clients that are ready do their jobs, until all have answered or the deadline has passed.

        Args:
            jobs: by client.
            accept: turns an update into what is kept of it; what it raises as BenchError refuses the update.
        """
        results: queue.SimpleQueue[tuple[str, Update | BenchError]] = queue.SimpleQueue()
        cancelled = threading.Event()
        outcome: Outcome[Accepted] = Outcome()
        try:
            for name, job in jobs.items():
                self._begin(self._seats[name], job, cancelled, results)
            self._collect(set(jobs), results, accept, outcome)
        finally:
            cancelled.set()
        for name in jobs:
            if name not in outcome.accepted:
                late = f"no answer within {self._deadline_s:g} s (federation.deadline_s)"
                self._drop(self._seats[name], outcome.dropped.setdefault(name, late))
        return outcome

    def departures(self) -> list[Departure]:
        """Clients that were left out for the rest of the run since this was last asked."""
        found = []
        while not self._departures.empty():
            found.append(self._departures.get())
        return found

    def troubles(self) -> dict[str, str]:
        """Of the clients that are not ready: why."""
        return {name: seat.trouble for name, seat in self._seats.items() if seat.state is not _State.READY}

    def close(self) -> list[str]:
        """Ends it: waits a few seconds, all together, for threads to let go; names the clients whose have not."""
        self._stopped = True
        deadline = time.monotonic() + _CANCEL_GRACE_S
        for seat in self._seats.values():
            if seat.thread is not None:
                seat.thread.join(timeout=max(0.0, deadline - time.monotonic()))
        return [name for name, seat in self._seats.items() if seat.thread is not None and seat.thread.is_alive()]

    def _begin(
        self,
        seat: _Seat,
        job: TrainJob,
        cancelled: threading.Event,
        results: queue.SimpleQueue[tuple[str, Update | BenchError]],
    ) -> None:
        client = seat.client

        def progress(done: int, total: int) -> None:
            if not cancelled.is_set():
                self._observer.client_progress(client.name, done, total)

        def fit() -> None:
            try:
                results.put((client.name, client.fit(job, progress, cancelled)))
            except BenchError as error:
                results.put((client.name, error))
            except Exception as error:  # a defect of the client's code must end its round, not hang the server
                results.put((client.name, _unexpected(client.name, error)))

        self._set(seat, _State.WORKING)
        seat.thread = threading.Thread(target=fit, name=f"fit-{client.name}", daemon=True)
        seat.thread.start()

    def _collect(
        self,
        outstanding: set[str],
        results: queue.SimpleQueue[tuple[str, Update | BenchError]],
        accept: Callable[[str, Update], Accepted],
        outcome: Outcome[Accepted],
    ) -> None:
        deadline = time.monotonic() + self._deadline_s
        while outstanding:
            try:
                name, result = results.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                return
            outstanding.discard(name)
            try:
                if isinstance(result, BenchError):
                    raise result
                outcome.accepted[name] = accept(name, result)
            except BenchError as error:
                outcome.dropped[name] = str(error)
                continue
            seat = self._seats[name]
            seat.failures = 0
            self._set(seat, _State.READY)
            self._observer.client_done(name, result)

    def _drop(self, seat: _Seat, reason: str) -> None:
        """Leaves a client out of this round and has it recovered in the background, to rejoin in a later one."""
        name = seat.client.name
        self._observer.client_dropped(name, reason)
        seat.failures += 1
        seat.trouble = reason
        if seat.failures >= _FAILURES:
            self._leave_out(seat, f"failed {seat.failures} times in a row, last: {reason}")
            return
        working = seat.thread
        self._set(seat, _State.RECOVERING)

        def recover() -> None:
            if working is not None:
                working.join()
            if self._stopped:
                return
            try:
                seat.client.recover()
            except BenchError as error:
                self._leave_out(seat, str(error))
            except Exception as error:  # as in fit
                self._leave_out(seat, str(_unexpected(name, error)))
            else:
                self._set(seat, _State.READY)

        seat.thread = threading.Thread(target=recover, name=f"recover-{name}", daemon=True)
        seat.thread.start()

    def _leave_out(self, seat: _Seat, reason: str) -> None:
        seat.trouble = reason
        self._departures.put(Departure(seat.client.name, reason))
        self._set(seat, _State.OUT)
        if not self._stopped:
            self._observer.client_dropped(seat.client.name, f"left out for the rest of the run: {reason}")

    def _set(self, seat: _Seat, state: _State) -> None:
        with self._changed:
            seat.state = state
            self._changed.notify_all()


def _unexpected(client: str, error: Exception) -> DeviceError:
    failure = DeviceError(f"{client}: unexpected {type(error).__name__}: {error}")
    failure.__cause__ = error
    return failure
