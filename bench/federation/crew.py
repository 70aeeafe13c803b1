"""Has clients work at the same time, a thread for each host, and never waits for one longer than it was told to.

What is asked of a host is done in the order in which it was asked. A client that fails, or that is given up, is told to
stop, and once its host has let go of the work, it is recovered there, behind the caller's back. Until then nothing is
asked of it, so a host that ignores being cancelled holds up its own clients alone. What comes of work that was given
up is not looked at.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from dataclasses import dataclass, field

from bench.errors import BenchError, ConfigError, DeviceError, InfrastructureError
from bench.federation.client import Client, Trained, TrainJob
from bench.federation.observer import Observer

_CANCEL_GRACE_S = 5.0  # for cancelled clients to let go, all together, when the run ends


@dataclass(eq=False)
class Work:
    """A job that a client was given. `number` is the federation's; times are of the process's monotonic clock."""

    client: Client
    number: int
    job: TrainJob
    latest: float
    """When its host will have taken it up, if those before it on that host take no longer than they may."""
    taken_up: Future[float] = field(default_factory=Future)
    cancelled: threading.Event = field(default_factory=threading.Event)
    outcome: Future[Trained] = field(default_factory=Future)


@dataclass(frozen=True)
class Returned:
    """A client that failed is there again."""

    client: str


@dataclass(frozen=True)
class Departure:
    """A client that is left out for the rest of the run."""

    client: str
    reason: str


class _Host:
    """Does what it is asked in order, in a thread of its own."""

    def __init__(self, name: str) -> None:
        self._asked: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self.thread = threading.Thread(target=self._run, name=f"host-{name}", daemon=True)
        self.thread.start()

    def ask(self, work: Callable[[], None] | None) -> None:
        """None ends it."""
        self._asked.put(work)

    def _run(self) -> None:
        while (work := self._asked.get()) is not None:
            work()


class Crew:
    """The cohort's clients. Its methods are called from one thread."""

    def __init__(
        self,
        clients: Sequence[Client],
        deadline_s: float,
        observer: Observer,
        *,
        tell: bool = False,
        max_failures: int = 3,
    ) -> None:
        """`deadline_s` is wall time for one job, from when its host takes it up. With `tell`, `next` also gives work
        that was done. After `max_failures` in a row a client is left out for the rest of the run.

        Raises ConfigError: two clients of one name, or one without data.
        """
        self._clients = {client.name: client for client in sorted(clients, key=lambda client: client.name)}
        if len(self._clients) != len(clients):
            names = [client.name for client in clients]
            twice = sorted({name for name in names if names.count(name) > 1})
            raise ConfigError(f"clients need names of their own: {', '.join(twice)}")
        if empty := [name for name, client in self._clients.items() if client.capacity < 1]:
            raise ConfigError(f"clients without samples cannot train: {', '.join(empty)}")
        self._deadline_s = deadline_s
        self._observer = observer
        self._tell = tell
        self._max_failures = max_failures
        self._aborted: InfrastructureError | None = None
        self._stopped = False
        self._hosts: dict[str, _Host] = {}
        self._events: queue.SimpleQueue[Work | Returned | Departure | None] = queue.SimpleQueue()
        self._failures = dict.fromkeys(self._clients, 0)
        self._under_way: set[Work] = set()
        self._recovering: set[str] = set()
        self._departed: list[Departure] = []
        self.troubles: dict[str, str] = {}
        """Of the clients that are not there: why."""

    @property
    def names(self) -> list[str]:
        """All clients, sorted."""
        return list(self._clients)

    def client(self, name: str) -> Client:
        """A client by its name."""
        return self._clients[name]

    def begin(self, name: str, number: int, job: TrainJob) -> Work:
        """Asks a client to do a job, and returns at once."""
        client = self._clients[name]
        ahead = sum(other.client.host == client.host for other in self._under_way)
        ahead += sum(self._clients[other].host == client.host for other in self._recovering)
        work = Work(client, number, job, time.monotonic() + ahead * self._deadline_s)

        def progress(done: int, total: int) -> None:
            if not work.cancelled.is_set():
                self._observer.client_progress(name, done, total)

        def fit() -> None:
            work.taken_up.set_result(time.monotonic())
            if work.cancelled.is_set():
                work.outcome.set_exception(DeviceError(f"{name}: cancelled before it began"))
                return
            try:
                work.outcome.set_result(client.fit(job, progress, work.cancelled))
            except BenchError as error:
                work.outcome.set_exception(error)
            except Exception as error:  # a defect of the client's code must end its job, not hang the server
                work.outcome.set_exception(_unexpected(name, error))
            if self._tell:
                self._events.put(work)

        self._under_way.add(work)
        if self._aborted is not None:
            work.cancelled.set()
        self._host(client).ask(fit)
        return work

    def result(self, work: Work) -> Trained:
        """What came of it, by the deadline, which counts from when its host took it up. Raises BenchError: nothing."""
        try:
            since = work.taken_up.result(timeout=max(0.0, work.latest - time.monotonic()))
        except FutureTimeout:
            since = work.latest
        left = since + self._deadline_s - time.monotonic()
        try:
            return work.outcome.result(timeout=max(0.0, left))
        except FutureTimeout:
            raise InfrastructureError(self.late) from None

    def abort(self, error: InfrastructureError) -> None:
        """Ends the run from another thread: all work is cancelled, and `check` raises the error."""
        self._aborted = error
        self._events.put(None)
        for work in list(self._under_way):
            work.cancelled.set()

    def check(self) -> None:
        """Raises InfrastructureError after `abort`."""
        if self._aborted is not None:
            raise self._aborted

    @property
    def late(self) -> str:
        """Why a client is dropped that has not answered in time."""
        return f"no answer within {self._deadline_s:g} s (federation.deadline_s)"

    def accept(self, work: Work, trained: Trained) -> None:
        """An update was good."""
        self._under_way.discard(work)
        self._failures[work.client.name] = 0
        self._observer.client_done(work.client.name, trained)

    def cancel(self, work: Work) -> None:
        """An update is not wanted any more; the client is well, and may be asked for another at once."""
        self._under_way.discard(work)
        work.cancelled.set()

    def give_up(self, work: Work, reason: str) -> None:
        """A client has failed, or has not answered: it is recovered, and `next` says so when it is back."""
        name = work.client.name
        self.cancel(work)
        self._observer.client_dropped(name, reason)
        self._failures[name] += 1
        self.troubles[name] = reason
        if self._failures[name] >= self._max_failures:
            self._leave_out(Departure(name, f"failed {self._failures[name]} times in a row, last: {reason}"))
            return
        self._recovering.add(name)

        def recover() -> None:
            if self._stopped:
                return
            try:
                work.client.recover()
            except BenchError as error:
                self._events.put(Departure(name, str(error)))
            except Exception as error:  # as in fit
                self._events.put(Departure(name, str(_unexpected(name, error))))
            else:
                self._events.put(Returned(name))

        self._host(work.client).ask(recover)

    def next(self, timeout_s: float | None) -> Work | Returned | None:
        """What has happened: a client is back, or, with `tell`, work is done that was neither cancelled nor given up.

        Waits `timeout_s` for it. None waits for clients in recovery, as long as a job may take, and not at all where
        there are none; with `tell` also for work, however long it takes.
        """
        if timeout_s is None:
            waits = self._tell and self._under_way
            timeout_s = threading.TIMEOUT_MAX if waits else self._deadline_s if self._recovering else 0.0
        until = time.monotonic() + timeout_s
        while True:
            left = until - time.monotonic()
            try:
                event = self._events.get(timeout=left) if left > 0 else self._events.get_nowait()
            except queue.Empty:
                return None
            if event is None:
                self.check()
            elif isinstance(event, Returned):
                self._recovering.discard(event.client)
                self.troubles.pop(event.client, None)
                return event
            elif isinstance(event, Departure):
                self._recovering.discard(event.client)
                self._leave_out(event)
                if not self._recovering and not (self._tell and self._under_way):
                    return None
            elif event in self._under_way:
                return event

    def departures(self) -> list[Departure]:
        """Clients that were left out for the rest of the run since this was last asked."""
        found, self._departed = self._departed, []
        return found

    def close(self) -> list[str]:
        """Ends it: waits a few seconds, all together, for threads to let go; names the hosts whose have not."""
        self._stopped = True
        for work in self._under_way:
            work.cancelled.set()
        deadline = time.monotonic() + _CANCEL_GRACE_S
        for host in self._hosts.values():
            host.ask(None)
        for host in self._hosts.values():
            host.thread.join(timeout=max(0.0, deadline - time.monotonic()))
        return [name for name, host in self._hosts.items() if host.thread.is_alive()]

    def _host(self, client: Client) -> _Host:
        if client.host not in self._hosts:
            self._hosts[client.host] = _Host(client.host)
        return self._hosts[client.host]

    def _leave_out(self, departure: Departure) -> None:
        self.troubles[departure.client] = departure.reason
        self._departed.append(departure)
        self._observer.client_dropped(departure.client, f"left out for the rest of the run: {departure.reason}")


def _unexpected(client: str, error: Exception) -> DeviceError:
    failure = DeviceError(f"{client}: unexpected {type(error).__name__}: {error}")
    failure.__cause__ = error
    return failure
