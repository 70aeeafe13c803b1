"""Synchronous federated rounds: hands the model out, checks what comes back, aggregates, evaluates, keeps a journal."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from bench.errors import BenchError, ConfigError, DeviceError, InfrastructureError
from bench.federation.client import Client, TrainJob, Update
from bench.federation.driver import Driver
from bench.federation.journal import Journal
from bench.federation.observer import Observer
from bench.federation.schedule import Schedule
from bench.federation.strategies.fedavg import Contribution, Weights
from bench.results.table import Measurement, Recorder

__all__ = ["Codec", "Evaluate", "FederatedRun", "Observer", "Strategy"]

Strategy = Callable[[Weights, Sequence[Contribution]], dict[str, NDArray[np.float64]]]
"""The next model, given this one and the clients' contributions; a pure function."""

Evaluate = Callable[[Weights, int, Sequence[Measurement]], list[Measurement]]
"""Figures of a model after a round, given the model, the round's number and the clients' rows."""

_ATTEMPTS = 2  # at a round in which too few have answered


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


class FederatedRun:
    """Synchronous rounds of one variant over a cohort.

    `evaluate` gives the figures of a model after a round; round 0 is the model before any training. Rows carry the run
    and variant of `recorder`. The result depends on the experiment and on who answered, not on who was first.

    Raises ConfigError for clients that share a name or hold no samples, and for fewer clients than `min_clients`.
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
        if schedule.min_clients > len(clients):
            raise ConfigError(
                f"{recorder.variant}: federation.min_clients is {schedule.min_clients}, "
                f"but there are {len(clients)} clients"
            )
        self._recorder = recorder
        self._driver = Driver(clients, schedule.deadline_s, observer)
        self._schedule = schedule
        self._strategy = strategy
        self._codec = codec
        self._evaluate = evaluate
        self._journal = journal
        self._observer = observer

    def run(self, initial: Weights) -> dict[str, NDArray[np.float64]]:
        """Runs the rounds that the journal does not yet hold; returns the final model.

        Raises:
            InfrastructureError: fewer than `min_clients` answered in a round, even after they were recovered; or the
                journal cannot be written.
            KeyboardInterrupt: passed on once the clients have let go, or after a few seconds.
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
            self._driver.close()

    def _round(self, round_: int, master: Weights) -> dict[str, NDArray[np.float64]]:
        down = self._codec.encode_down(master)
        updates = self._gather(round_, down)
        contributions = [contribution for _, (_, contribution) in sorted(updates.items())]
        result = self._strategy(master, contributions)
        rows = [row for _, (update, _) in sorted(updates.items()) for row in update.measurements]
        recorder = Recorder(self._recorder.run, self._recorder.variant, round=round_)
        rows.append(recorder.row("dropped", len(self._driver.names) - len(updates), "counted"))
        self._finish(round_, result, rows)
        return result

    def _gather(self, round_: int, down: bytes) -> dict[str, tuple[Update, Contribution]]:
        """Accepted updates of enough clients; who has answered does not train again in a second attempt."""
        start = self._codec.decode_down(down)
        needed = self._schedule.min_clients
        updates: dict[str, tuple[Update, Contribution]] = {}

        def accept(name: str, update: Update) -> tuple[Update, Contribution]:
            return update, self._checked(name, round_, update, start)

        for _ in range(_ATTEMPTS):
            selected = self._driver.select(needed - len(updates), without=list(updates))
            self._observer.round_started(self._recorder.variant, round_, self._schedule.rounds, selected)
            outcome = self._driver.drive({name: self._job(name, round_, down) for name in selected}, accept)
            updates.update(outcome.accepted)
            self._note(round_, outcome.dropped)
            if len(updates) >= needed:
                return updates
        raise InfrastructureError(
            f"round {round_} of {self._recorder.variant}: {len(updates)} of {len(self._driver.names)} clients "
            f"answered, {needed} are needed (federation.min_clients); `--resume` goes on with this round: "
            + "; ".join(f"{name}: {trouble}" for name, trouble in sorted(self._driver.troubles().items()))
        )

    def _note(self, round_: int, dropped: Mapping[str, str]) -> None:
        variant = self._recorder.variant
        for name, reason in sorted(dropped.items()):
            self._journal.record("dropped", variant=variant, round=round_, client=name, reason=reason)
        for gone in sorted(self._driver.departures(), key=lambda departure: departure.client):
            self._journal.record("left_out", variant=variant, round=round_, client=gone.client, reason=gone.reason)

    def _finish(self, round_: int, master: Weights, rows: list[Measurement]) -> None:
        rows = [*rows, *self._evaluate(master, round_, rows)]
        self._journal.finish_round(self._recorder.variant, round_, master, rows)
        self._observer.round_finished(self._recorder.variant, round_, rows)

    def _job(self, name: str, round_: int, down: bytes) -> TrainJob:
        schedule = self._schedule
        return TrainJob(
            round=round_,
            variant=self._recorder.variant,
            down=down,
            first=schedule.first_sample(round_, self._driver.client(name).capacity),
            count=schedule.local_samples,
            learning_rate=schedule.learning_rate(round_),
            seed=schedule.seed_of(name, round_),
        )

    def _checked(self, name: str, round_: int, update: Update, start: Weights) -> Contribution:
        """What an update contributes. Raises DeviceError for one that must not reach the model."""
        if update.client != name or update.round != round_:
            raise DeviceError(
                f"update refused: it is of {update.client} for round {update.round}, not of {name} for round {round_}"
            )
        if update.samples != self._schedule.local_samples:
            raise DeviceError(
                f"update refused: trained on {update.samples} samples, {self._schedule.local_samples} were asked for"
            )
        if not (math.isfinite(update.loss) and math.isfinite(update.accuracy)):
            raise DeviceError(f"update refused: loss {update.loss}, accuracy {update.accuracy} are not finite numbers")
        self._check_rows(name, round_, update)
        try:
            trained = self._codec.decode_up(update.params)
        except BenchError as error:
            raise DeviceError(f"update refused: {error}") from error
        except (ValueError, KeyError, IndexError) as error:
            raise DeviceError(f"update refused: {len(update.params)} bytes that are no model: {error}") from error
        if {key: tensor.shape for key, tensor in trained.items()} != {key: w.shape for key, w in start.items()}:
            raise DeviceError("update refused: its tensors are not the model's")
        for tensor, values in trained.items():
            if not np.isfinite(values).all():
                raise DeviceError(f"update refused: {tensor} holds values that are not finite numbers")
        return Contribution(name, start, trained, update.samples)

    def _check_rows(self, name: str, round_: int, update: Update) -> None:
        """Now, as the table of the whole run is written only when all is done. Raises DeviceError."""
        expected = (self._recorder.run, self._recorder.variant, name, round_)
        for row in update.measurements:
            found = (row.run, row.variant, row.client, row.round)
            if found != expected:
                raise DeviceError(f"update refused: its {row.metric} is of {found}, not of {expected}")
        if len({row.key for row in update.measurements}) != len(update.measurements):
            raise DeviceError("update refused: it holds a figure twice")
