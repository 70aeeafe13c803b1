"""Clients with a toy problem: each pulls the model towards a centre of its own, at its own speed.

Client i minimises ½ ‖w − c_i‖², by one step of size `rate`: its change is rate · (c_i − w). What federated training
converges to is then known: a weighted mean of the centres.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Executor, Future
from dataclasses import dataclass

import numpy as np

from bench.federation.clock import Computed
from bench.federation.events import Assign, Failed, Form, Update, Vector


def chance(*what: object) -> float:
    """A number in [0, 1) that depends on `what` alone."""
    digest = hashlib.sha256(repr(what).encode()).digest()
    return int.from_bytes(digest[:8], "little") / 2**64


@dataclass(frozen=True)
class Done:
    """An answer that was known when the work began."""

    earliest: float
    answer: Update | Failed

    def finish(self) -> Update | Failed:
        return self.answer

    def arrived(self) -> None:
        pass

    def cancel(self) -> None:
        pass


@dataclass(frozen=True)
class Quadratic:
    """A client that takes `duration_s` times 1 to 1.5, by chance, and fails with probability `failing`."""

    name: str
    centre: np.ndarray
    duration_s: float = 1.0
    samples: int = 10
    rate: float = 0.5
    failing: float = 0.0

    def answer(self, job: Assign, weights: Vector, now: float) -> Update | Failed:
        at = now + self.duration_s * (1 + 0.5 * chance(self.name, job.job, "time"))
        if chance(self.name, job.job, "failure") < self.failing:
            return Failed(at, self.name, job.job, "out of luck")
        delta = self.rate * (self.centre - weights)
        vector = delta if job.form is Form.DELTA else weights + delta
        return Update(at, self.name, job.job, job.version, vector, self.samples, job.form)

    def start(self, job: Assign, weights: Vector, now: float) -> Done:
        return Done(now + self.duration_s, self.answer(job, weights, now))


@dataclass(frozen=True)
class Threaded:
    """The same client, computing in a thread of its own that is held up for a while that nothing else knows of."""

    client: Quadratic
    executor: Executor
    delay_s: Callable[[], float]

    def start(self, job: Assign, weights: Vector, now: float) -> Computed:
        def compute() -> Update | Failed:
            time.sleep(self.delay_s())
            return self.client.answer(job, weights, now)

        future: Future[Update | Failed] = self.executor.submit(compute)
        return Computed(now + self.client.duration_s, future)


def cohort(count: int, parameters: int = 4, slow: float = 0.3, failing: float = 0.0) -> dict[str, Quadratic]:
    """Clients with centres by chance around 1, a share of them ten times slower."""
    clients = {}
    for i in range(count):
        name = f"client-{i:05}"
        centre = 1.0 + np.array([chance(i, k) - 0.5 for k in range(parameters)])
        clients[name] = Quadratic(name, centre, 10.0 if chance(i) < slow else 1.0, 5 + i % 7, failing=failing)
    return clients


def mean_centre(clients: Mapping[str, Quadratic]) -> np.ndarray:
    """Weighted by samples: what federated averaging over all of them converges to."""
    samples = sum(client.samples for client in clients.values())
    return sum(client.samples * client.centre for client in clients.values()) / samples


def random_delays(seed: int) -> Callable[[], float]:
    """Delays of up to 2 ms that differ from call to call."""
    generator, lock = np.random.default_rng(seed), threading.Lock()

    def draw() -> float:
        with lock:
            return float(generator.random()) * 2e-3

    return draw
