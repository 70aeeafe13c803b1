"""A small real federation: clients that train a softmax regression on points of their own, and can be told to fail.

Also a program, for a test that kills it from outside: `python linear_cohort.py FOLDER` runs it with its journal in
FOLDER.
"""

from __future__ import annotations

import io
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench.errors import ConfigError, DeviceError, InfrastructureError
from bench.federation.client import Progress, TrainJob, Update
from bench.federation.journal import Journal
from bench.federation.schedule import Schedule
from bench.federation.server import FederatedRun
from bench.federation.strategies.fedavg import Weights, fedavg
from bench.results.table import Measurement, Recorder

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

    decode_up = decode_down


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


Fault = Callable[["LinearClient", TrainJob, threading.Event, Update], Update]


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
        self.last: Update | None = None

    @property
    def capacity(self) -> int:
        return len(self.x)

    def fit(self, job: TrainJob, progress: Progress, cancelled: threading.Event) -> Update:
        self.jobs.append(job)
        params, loss, accuracy = train(job, self.x, self.y)
        progress(job.count, job.count)
        rows = [
            Recorder("run", job.variant, f"board-{self.name}", self.name, job.round).row(
                "samples", job.count, "counted"
            )
        ]
        update = Update(self.name, job.round, params, job.count, loss, accuracy, 0, tuple(rows))
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


def straggles(client: LinearClient, job: TrainJob, cancelled: threading.Event, update: Update) -> Update:
    """Takes longer than any deadline, but lets go when told to."""
    assert cancelled.wait(timeout=60)
    raise DeviceError(f"{client.name}: cancelled")


def hangs(client: LinearClient, job: TrainJob, cancelled: threading.Event, update: Update) -> Update:
    """Does not react to being cancelled; its update comes when the test lets it."""
    client.released.wait(timeout=60)
    return update


def crashes(client: LinearClient, job: TrainJob, cancelled: threading.Event, update: Update) -> Update:
    raise DeviceError(f"{client.name}: board has reset")


class Watcher:
    """An observer that keeps what it is told, and can be told to act on it."""

    def __init__(self, act: Callable[[str], None] = lambda _event: None) -> None:
        self.events: list[str] = []
        self.act = act

    def _note(self, event: str) -> None:
        self.events.append(event)
        self.act(event)

    def round_started(self, variant: str, round_: int, rounds: int, clients: Sequence[str]) -> None:
        self._note(f"round {round_} of {rounds}: {' '.join(clients)}")

    def client_progress(self, client: str, done: int, total: int) -> None:
        self._note(f"{client} {done}/{total}")

    def client_done(self, client: str, update: Update) -> None:
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


def schedule(rounds: int = 4, deadline_s: float = 20.0, min_clients: int = 1, local_samples: int = 30) -> Schedule:
    return Schedule(rounds, local_samples, lambda round_: 0.05 / round_, deadline_s, min_clients, seed=7)


def evaluate(master: Weights, round_: int, rows: Sequence[Measurement]) -> list[Measurement]:
    x, y = points(99, 400)
    p = probabilities(master, x)
    recorder = Recorder("run", "linear", round=round_)
    loss = -float(np.log(p[np.arange(len(y)), y]).mean())
    return [
        recorder.row("accuracy", float((p.argmax(axis=1) == y).mean()), "counted"),
        recorder.row("loss", loss, "counted"),
    ]


def initial() -> dict[str, NDArray[np.float64]]:
    return {name: np.zeros(shape) for name, shape in SHAPES.items()}


def federated(
    folder: Path,
    clients: Sequence[LinearClient],
    plan: Schedule,
    watcher: Watcher | None = None,
    digest: str = "same",
) -> FederatedRun:
    """A run with its journal in `folder`."""
    return FederatedRun(
        Recorder("run", "linear"),
        clients,
        plan,
        fedavg,
        Float32Codec(),
        evaluate,
        Journal(folder, digest),
        watcher or Watcher(),
    )


def fingerprint(master: Weights) -> str:
    """The weights' bits."""
    buffer = io.BytesIO()
    for name in sorted(master):
        buffer.write(np.asarray(master[name], "<f8").tobytes())
    return buffer.getvalue().hex()


def main(folder: Path) -> None:
    """Runs to the end, one line an event, and the weights' bits last."""
    watcher = Watcher(lambda event: print(event, flush=True))
    print(fingerprint(federated(folder, cohort(), schedule(), watcher).run(initial())), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
