"""A small real federation: clients that train a softmax regression on points of their own, and can be told to fail.

Also a program, for a test that kills it from outside: `python linear_cohort.py FOLDER` runs it with its journal in
FOLDER.
"""

from __future__ import annotations

import sys
import threading
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench.errors import ConfigError, DeviceError, InfrastructureError
from bench.federation.client import Figure, Progress, Trained, TrainJob
from bench.federation.events import Vector
from bench.federation.federated_run import Clock, FederatedRun, StepTaken
from bench.federation.journal import Journal
from bench.federation.schedule import Schedule
from bench.federation.settings import FederationSettings, parse_federation
from bench.results.table import Measurement, Recorder

Weights = Mapping[str, NDArray[np.float64]]
FEATURES, CLASSES = 6, 4
SHAPES = {"weight": (FEATURES, CLASSES), "bias": (CLASSES,)}
LENGTH = 4 * (FEATURES * CLASSES + CLASSES)


class Float32Codec:
    """Weights travel as float32, one tensor after the other."""

    def encode_down(self, master: Weights) -> bytes:
        return b"".join(np.asarray(master[name], "<f4").tobytes() for name in SHAPES)

    def decode_down(self, down: bytes) -> dict[str, NDArray[np.float64]]:
        if len(down) != LENGTH:
            raise ConfigError(f"{len(down)} bytes of parameters, {LENGTH} expected")
        values, start, result = np.frombuffer(down, "<f4").astype(np.float64), 0, {}
        for name, shape in SHAPES.items():
            size = int(np.prod(shape))
            result[name] = values[start : start + size].reshape(shape)
            start += size
        return result

    first_state = None

    def flat(self, values: Weights) -> Vector:
        return np.concatenate([values[name].reshape(-1) for name in SHAPES])

    def change(self, update: bytes, down: bytes) -> Vector:
        return self.flat(self.decode_down(update)) - self.flat(self.decode_down(down))


class Float32Model(Float32Codec):
    """The same over flat vectors, as the federation has it."""

    def encode_down(self, weights: Vector) -> bytes:  # type: ignore[override]
        return np.asarray(weights, "<f4").tobytes()


def points(seed: int, count: int) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Points around one centre a class; the centres are the same for every seed."""
    centres = np.random.default_rng(1).normal(size=(CLASSES, FEATURES)) * 2
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, CLASSES, count)
    return centres[labels] + generator.normal(size=(count, FEATURES)), labels


def probabilities(weights: Weights, x: NDArray[np.float64]) -> NDArray[np.float64]:
    logits = x @ weights["weight"] + weights["bias"]
    shifted = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return shifted / shifted.sum(axis=-1, keepdims=True)


def train(job: TrainJob, x: NDArray[np.float64], y: NDArray[np.int64]) -> tuple[bytes, float, float]:
    """SGD at batch 1 on samples [first, first + count), which wrap; parameters, mean loss, accuracy."""
    codec = Float32Codec()
    weights, loss, right = codec.decode_down(job.down), 0.0, 0
    for step in range(job.count):
        i = (job.first + step) % len(x)
        p = probabilities(weights, x[i])
        loss -= float(np.log(p[y[i]]))
        right += int(p.argmax() == y[i])
        p[y[i]] -= 1.0
        weights["weight"] = weights["weight"] - job.learning_rate * np.outer(x[i], p)
        weights["bias"] = weights["bias"] - job.learning_rate * p
    return codec.encode_down(weights), loss / job.count, right / job.count


Fault = Callable[["LinearClient", TrainJob, threading.Event, Trained], Trained]


class LinearClient:
    """Trains for real. `faults` maps a round to what goes wrong in it, once; every job is kept in `jobs`."""

    def __init__(self, name: str, seed: int, count: int, faults: dict[int, Fault] | None = None) -> None:
        self.name = name
        self.x, self.y = points(seed, count)
        self.faults = dict(faults or {})
        self.jobs: list[TrainJob] = []
        self.recoveries = 0
        self.recovery_fails = False
        self.released = threading.Event()
        self.last: Trained | None = None
        self.seconds = 1.0
        self.host = f"board-{name}"

    @property
    def capacity(self) -> int:
        return len(self.x)

    def at_least_s(self, job: TrainJob) -> float:
        return self.seconds / 2

    def fit(self, job: TrainJob, progress: Progress, cancelled: threading.Event) -> Trained:
        self.jobs.append(job)
        params, loss, accuracy = train(job, self.x, self.y)
        progress(job.count, job.count)
        figures = (Figure("samples", job.count, "counted"),)
        update = Trained(self.name, job.round, params, job.count, loss, accuracy, 0, self.seconds, figures)
        fault = self.faults.pop(job.round, None)
        update = update if fault is None else fault(self, job, cancelled, update)
        self.last = update
        return update

    def recover(self) -> None:
        self.recoveries += 1
        if self.recovery_fails:
            raise InfrastructureError(f"{self.name}: no probe")

    def close(self) -> None:
        self.released.set()


def straggles(client: LinearClient, job: TrainJob, cancelled: threading.Event, update: Trained) -> Trained:
    """Takes longer than any deadline, but lets go when told to."""
    assert cancelled.wait(timeout=60)
    raise DeviceError(f"{client.name}: cancelled")


def hangs(client: LinearClient, job: TrainJob, cancelled: threading.Event, update: Trained) -> Trained:
    """Does not react to being cancelled; its update comes when the test lets it."""
    client.released.wait(timeout=60)
    return update


def crashes(client: LinearClient, job: TrainJob, cancelled: threading.Event, update: Trained) -> Trained:
    raise DeviceError(f"{client.name}: board has reset")


class Watcher:
    """An observer that keeps what it is told, and can be told to act on it."""

    def __init__(self, act: Callable[[str], None] = lambda _event: None) -> None:
        self.events: list[str] = []
        self.act = act

    def _note(self, event: str) -> None:
        self.events.append(event)
        self.act(event)

    def client_started(self, variant: str, round_: int, rounds: int | None, client: str) -> None:
        self._note(f"round {round_} of {rounds}: {client}")

    def client_progress(self, client: str, done: int, total: int) -> None:
        self._note(f"{client} {done}/{total}")

    def client_done(self, client: str, trained: Trained) -> None:
        self._note(f"{client} done")

    def client_dropped(self, client: str, reason: str) -> None:
        self._note(f"{client} dropped: {reason}")

    def round_finished(self, variant: str, round_: int, rows: Sequence[Measurement]) -> None:
        self._note(f"round {round_} finished")


def cohort(faults: dict[str, dict[int, Fault]] | None = None) -> list[LinearClient]:
    """Three clients, a, b and c, with 60, 50 and 40 points."""
    return [
        LinearClient(name, seed, count, (faults or {}).get(name))
        for name, seed, count in (("a", 11, 60), ("b", 12, 50), ("c", 13, 40))
    ]


@dataclass(frozen=True)
class Plan:
    """Of a run: what settings, schedule and deadline come from."""

    rounds: int = 4
    deadline_s: float = 20.0
    min_clients: int = 1
    federation: str = ""
    """A section in place of FedAvg with all clients."""
    clock: Clock = "modelled"

    @property
    def settings(self) -> FederationSettings:
        section = tomllib.loads(self.federation)
        if not section:
            section = {"strategy": "fedavg", "clients_per_round": max(3, self.min_clients), "rounds": self.rounds}
            section["min_clients"] = self.min_clients
        if self.clock == "wall":
            section["deadline_s"] = self.deadline_s
        return parse_federation(section)

    @property
    def schedule(self) -> Schedule:
        return Schedule(30, lambda round_: 0.05 / round_, seed=7)


def schedule(rounds: int = 4, deadline_s: float = 20.0, min_clients: int = 1) -> Plan:
    return Plan(rounds, deadline_s, min_clients)


def evaluate(step: StepTaken) -> list[Measurement]:
    x, y = points(99, 400)
    p = probabilities(Float32Codec().decode_down(np.asarray(step.weights, "<f4").tobytes()), x)
    recorder = Recorder("run", "linear", round=step.round)
    loss = -float(np.log(p[np.arange(len(y)), y]).mean())
    return [
        recorder.row("accuracy", float((p.argmax(axis=1) == y).mean()), "counted"),
        recorder.row("loss", loss, "counted"),
    ]


def initial() -> Vector:
    return np.zeros(LENGTH // 4)


def federated(
    folder: Path,
    clients: Sequence[LinearClient],
    plan: Plan,
    watcher: Watcher | None = None,
    digest: str = "same",
) -> FederatedRun:
    """A run with its journal in `folder`."""
    return FederatedRun(
        Recorder("run", "linear"),
        clients,
        plan.settings,
        plan.schedule,
        Float32Model(),
        evaluate,
        Journal(folder, digest),
        watcher or Watcher(),
        deadline_s=plan.deadline_s,
        seed=7,
        clock=plan.clock,
    )


def fingerprint(weights: Vector) -> str:
    """The weights' bits."""
    return np.asarray(weights, "<f8").tobytes().hex()


def main(folder: Path) -> None:
    """Runs to the end, one line an event, and the weights' bits last."""
    watcher = Watcher(lambda event: print(event, flush=True))
    print(fingerprint(federated(folder, cohort(), schedule(), watcher).run(initial())), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
