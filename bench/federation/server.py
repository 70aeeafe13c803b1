"""The server's rounds: selects the clients, drives them at the same time, and waits for none longer than it said."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from bench.errors import BenchError, DeviceError, InfrastructureError
from bench.federation.client import Client, TrainJob, Update
from bench.federation.journal import Journal
from bench.federation.schedule import Schedule
from bench.federation.strategies.fedavg import Contribution, Weights
from bench.results.table import Measurement, Recorder

Strategy = Callable[[Weights, Sequence[Contribution]], dict[str, NDArray[np.float64]]]

Evaluate = Callable[[Weights, int, Sequence[Measurement]], list[Measurement]]
"""Figures of a model after a round, given the model, the round's number and the clients' rows."""

_CANCEL_GRACE_S = 5.0  # for a cancelled client to notice
_RECOVERIES = 3  # failures in a row before a client is left out for the rest of the run


class Codec(Protocol):
    """How the model travels."""

    def encode_down(self, master: Weights) -> bytes:
        """The model as it is sent."""
        ...

    def decode_down(self, down: bytes) -> Weights:
        """The model as a client understands what was sent."""
        ...

    def decode_up(self, params: bytes) -> Weights:
        """The model that a client sends back. Raises ConfigError when it has another size."""
        ...


class Observer(Protocol):
    """Is told what happens, for progress and logs; called from several threads."""

    def round_started(self, variant: str, round_: int, rounds: int, clients: Sequence[str]) -> None:
        """A round begins with these clients."""
        ...

    def client_progress(self, client: str, done: int, total: int) -> None:
        """A client has made so many of its steps."""
        ...

    def client_done(self, client: str, update: Update) -> None:
        """A client has answered."""
        ...

    def client_dropped(self, client: str, reason: str) -> None:
        """A client is left out of this round."""
        ...

    def round_finished(self, variant: str, round_: int, rows: Sequence[Measurement]) -> None:
        """The round is aggregated, evaluated and in the journal."""
        ...


@dataclass
class _Seat:
    """What the server knows of a client between rounds."""

    client: Client
    thread: threading.Thread | None = None
    failures: int = 0
    recovered: threading.Event = field(default_factory=threading.Event)
    trouble: str = ""

    @property
    def ready(self) -> bool:
        return self.recovered.is_set() and not (self.thread is not None and self.thread.is_alive())

    @property
    def out(self) -> bool:
        return self.failures > _RECOVERIES


_Result = tuple[str, Update | BenchError]


class FederatedRun:
    """Synchronous rounds of one variant over a cohort.

    `evaluate` gives the figures of a model after a round; round 0 is the model before any training. Rows carry the run
    and variant of `recorder`. The result depends on the experiment and on who answered, not on who was first.
    """

    def __init__(
        self,
        recorder: Recorder,
        clients: Sequence[Client],
        schedule: Schedule,
        strategy: Strategy,
        codec: Codec,
        evaluate: Evaluate,
        journal: Journal,
        observer: Observer,
    ) -> None:
        self._recorder = recorder
        self._seats = {client.name: _Seat(client) for client in sorted(clients, key=lambda client: client.name)}
        for seat in self._seats.values():
            seat.recovered.set()
        self._schedule = schedule
        self._strategy = strategy
        self._codec = codec
        self._evaluate = evaluate
        self._journal = journal
        self._observer = observer
        self._stop = threading.Event()

    def run(self, initial: Weights) -> dict[str, NDArray[np.float64]]:
        """Runs the rounds that the journal does not yet hold; returns the final model.

        Raises:
            InfrastructureError: fewer than `min_clients` answered in a round, even after they were recovered.
            KeyboardInterrupt: passed on once the clients have let go.
        """
        finished = self._journal.last_round(self._recorder.variant)
        try:
            if finished is None:
                master = {name: np.array(tensor, dtype=np.float64) for name, tensor in initial.items()}
                self._finish(0, master, [])
                first = 1
            else:
                master = dict(finished.master)
                first = finished.round + 1
            for round_ in range(first, self._schedule.rounds + 1):
                master = self._round(round_, master)
            return master
        finally:
            self._stop.set()
            self._join()

    def _round(self, round_: int, master: Weights) -> dict[str, NDArray[np.float64]]:
        down = self._codec.encode_down(master)
        for attempt in (1, 2):
            selected = self._select()
            self._observer.round_started(self._recorder.variant, round_, self._schedule.rounds, selected)
            updates, reasons = self._drive(round_, down, selected)
            if len(updates) >= self._schedule.min_clients:
                break
            if attempt == 2:
                raise InfrastructureError(
                    f"round {round_} of {self._recorder.variant}: {len(updates)} of {len(selected)} clients answered, "
                    f"{self._schedule.min_clients} are needed (federation.min_clients): "
                    + "; ".join(f"{name}: {reason}" for name, reason in sorted(reasons.items()))
                )
        start = self._codec.decode_down(down)
        contributions = [
            Contribution(name, start, self._codec.decode_up(update.params), update.samples)
            for name, update in sorted(updates.items())
        ]
        result = self._strategy(master, contributions)
        rows = [row for _, update in sorted(updates.items()) for row in update.measurements]
        recorder = Recorder(self._recorder.run, self._recorder.variant, round=round_)
        left_out = [name for name in self._seats if name not in updates]
        rows.append(recorder.row("dropped", len(left_out), "counted"))
        self._finish(round_, result, rows)
        return result

    def _finish(self, round_: int, master: Mapping[str, NDArray[np.float64]], rows: list[Measurement]) -> None:
        rows = [*rows, *self._evaluate(master, round_, rows)]
        self._journal.finish_round(self._recorder.variant, round_, master, rows)
        self._observer.round_finished(self._recorder.variant, round_, rows)

    def _select(self) -> list[str]:
        """The clients that are ready; waits for those in recovery only when there would be too few without them."""
        deadline = time.monotonic() + self._schedule.deadline_s
        while True:
            ready = [name for name, seat in self._seats.items() if seat.ready and not seat.out]
            waiting = [seat for seat in self._seats.values() if not seat.ready and not seat.out]
            if len(ready) >= self._schedule.min_clients or not waiting or time.monotonic() >= deadline:
                return ready
            waiting[0].recovered.wait(timeout=0.2)

    def _drive(self, round_: int, down: bytes, names: Sequence[str]) -> tuple[dict[str, Update], dict[str, str]]:
        results: queue.Queue[_Result] = queue.Queue()
        cancelled = threading.Event()
        for name in names:
            seat = self._seats[name]
            job = self._job(seat.client, round_, down)
            seat.thread = threading.Thread(
                target=self._fit, args=(seat.client, job, cancelled, results), name=f"fit-{name}", daemon=True
            )
            seat.thread.start()
        updates: dict[str, Update] = {}
        reasons: dict[str, str] = {}
        try:
            self._collect(round_, set(names), results, updates, reasons)
        finally:
            cancelled.set()
        for name in names:
            if name not in updates and name not in reasons:
                reasons[name] = f"no answer within {self._schedule.deadline_s:g} s (federation.deadline_s)"
        for name, reason in sorted(reasons.items()):
            self._drop(name, round_, reason)
        for name in updates:
            self._seats[name].failures = 0
        return updates, reasons

    def _collect(
        self,
        round_: int,
        outstanding: set[str],
        results: queue.Queue[_Result],
        updates: dict[str, Update],
        reasons: dict[str, str],
    ) -> None:
        deadline = time.monotonic() + self._schedule.deadline_s
        while outstanding:
            try:
                # In short waits: a queue's wait cannot be interrupted by Ctrl-C on every platform.
                name, result = results.get(timeout=max(0.0, min(0.2, deadline - time.monotonic())))
            except queue.Empty:
                if time.monotonic() >= deadline:
                    return
                continue
            outstanding.discard(name)
            try:
                if isinstance(result, BenchError):
                    raise result
                self._check(result, name, round_)
            except BenchError as error:
                reasons[name] = str(error)
            else:
                updates[name] = result
                self._observer.client_done(name, result)

    def _job(self, client: Client, round_: int, down: bytes) -> TrainJob:
        schedule = self._schedule
        return TrainJob(
            round=round_,
            variant=self._recorder.variant,
            down=down,
            first=schedule.first_sample(round_, client.capacity),
            count=schedule.local_samples,
            learning_rate=schedule.learning_rate(round_),
            seed=schedule.seed_of(client.name, round_),
        )

    def _fit(self, client: Client, job: TrainJob, cancelled: threading.Event, results: queue.Queue[_Result]) -> None:
        def progress(done: int, total: int) -> None:
            self._observer.client_progress(client.name, done, total)

        try:
            results.put((client.name, client.fit(job, progress, cancelled)))
        except BenchError as error:
            results.put((client.name, error))
        except Exception as error:  # a defect of the client's code must end its round, not hang the server
            failure = DeviceError(f"{client.name}: unexpected {type(error).__name__}: {error}")
            failure.__cause__ = error
            results.put((client.name, failure))

    def _check(self, update: Update, name: str, round_: int) -> None:
        """Refuses what must not reach the model. Raises DeviceError or ConfigError."""
        if update.client != name or update.round != round_:
            raise DeviceError(f"an update of {update.client} for round {update.round} arrived, refused")
        if update.samples != self._schedule.local_samples:
            raise DeviceError(
                f"update refused: trained on {update.samples} samples, {self._schedule.local_samples} asked"
            )
        for tensor, values in self._codec.decode_up(update.params).items():
            if not np.isfinite(values).all():
                raise DeviceError(f"update refused: {tensor} holds values that are not finite numbers")

    def _drop(self, name: str, round_: int, reason: str) -> None:
        """Leaves a client out of this round and has it recovered in the background, to rejoin in a later one."""
        self._observer.client_dropped(name, reason)
        self._journal.record("dropped", variant=self._recorder.variant, round=round_, client=name, reason=reason)
        seat = self._seats[name]
        seat.failures += 1
        seat.trouble = reason
        seat.recovered.clear()
        busy = seat.thread

        def recover() -> None:
            if busy is not None:
                busy.join()
            try:
                seat.client.recover()
            except BenchError as error:
                seat.failures = _RECOVERIES + 1
                seat.trouble = str(error)
                self._observer.client_dropped(name, f"left out for the rest of the run: {error}")
            seat.recovered.set()

        if not seat.out and not self._stop.is_set():
            seat.thread = threading.Thread(target=recover, name=f"recover-{name}", daemon=True)
            seat.thread.start()

    def _join(self) -> None:
        deadline = time.monotonic() + _CANCEL_GRACE_S
        for seat in self._seats.values():
            if seat.thread is not None:
                seat.thread.join(timeout=max(0.0, deadline - time.monotonic()))
