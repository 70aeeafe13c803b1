"""A federation over thousands of simulated clients: the server's core, virtual time, and the host-compiled engine.

Clients train in threads, on all cores; what happens, and in which order, depends on virtual times alone, so a result
depends on the seed and not on how many threads there are.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np

from bench.errors import ConfigError
from bench.federation.clock import Pending, Simulation
from bench.federation.events import Action, Assign, Event, Failed, Form, Refused, Stepped, Update
from bench.federation.settings import FederationSettings, FedProxSettings, make_core
from bench.fleet.population import Pool
from bench.fleet.trainer import Job, Trainer, Turn, Vector
from bench.link.size import Wire, write

_PARTS = 8
"""Of the samples to judge by, each judged by itself."""


@dataclass(frozen=True)
class Point:
    """The model after so many server steps: virtual seconds, updates that went in, bytes on all wires until then (down
    and up, framing included), and how it does on the samples to judge by."""

    at: float
    version: int
    updates: int
    down: int
    up: int
    accuracy: float
    loss: float


@dataclass
class Payloads:
    """How many there were, and their bytes without framing."""

    count: int = 0
    size: int = 0

    def add(self, size: int) -> None:
        """One more."""
        self.count += 1
        self.size += size

    @property
    def mean(self) -> float:
        """Bytes; 0 of none."""
        return self.size / max(1, self.count)


@dataclass
class Trace:
    """A run: points in order, the final model, counts of what was refused or cancelled, and what travelled: models and
    differences sent down, updates that arrived."""

    points: list[Point] = field(default_factory=list)
    weights: Vector | None = None
    refused: int = 0
    cancelled: int = 0
    clipped: int = 0
    downloads: Payloads = field(default_factory=Payloads)
    uploads: Payloads = field(default_factory=Payloads)

    def first(self, accuracy: float) -> Point | None:
        """The first point that reaches an accuracy, or None."""
        return next((point for point in self.points if point.accuracy >= accuracy), None)


def simulate(
    settings: FederationSettings,
    trainer: Trainer,
    judge: Pool,
    seed: int,
    every: int = 1,
    threads: int | None = None,
    progress: Callable[[Point], None] = lambda _point: None,
) -> Trace:
    """Runs a federation to its end.

    Args:
        settings: strategy, participation, and when it ends.
        trainer: the program and its clients.
        judge: samples that the model is judged by after each `every` steps, and at the beginning and the end.
        seed: of who is chosen.
        every: server steps between points.
        threads: that train; as many as there are cores if None.
        progress: called with each point.

    Raises:
        ConfigError: the strategy does not go with its participation, or asks of clients what the engine does not do.
        InfrastructureError: it stands still, as no client is left.
    """
    if isinstance(settings, FedProxSettings) and settings.mu > 0 and trainer.engine.plan.dtype != "float32":
        raise ConfigError(
            f"federation.mu: is {settings.mu}, but FedProx's proximal term needs a float32 program: "
            "set mu = 0.0, or train in float32"
        )
    names = [f"{index:06d}" for index in range(len(trainer.population))]
    core = make_core(settings, trainer.initial(), names, seed)
    with ThreadPoolExecutor(threads or os.cpu_count()) as pool:
        run = _Run(trainer, judge, every, progress, pool)
        clients = {name: _Client(index, run, pool) for index, name in enumerate(names)}
        simulation = Simulation(core, clients, observe=lambda event, actions: run.observe(simulation, event, actions))
        run.judge_now(simulation)
        simulation.run()
        if run.trace.points[-1].version != core.version:
            run.judge_now(simulation)
    run.trace.weights = core.model
    return run.trace


@dataclass
class _Run:
    trainer: Trainer
    judge: Pool
    every: int
    progress: Callable[[Point], None]
    pool: ThreadPoolExecutor
    trace: Trace = field(default_factory=Trace)
    wire: Wire = field(default_factory=lambda: Wire(0, 0))
    published: int = -1

    def publish(self, version: int, weights: Vector) -> None:
        """Once for each version that someone is sent."""
        if version != self.published:
            self.trainer.publish(version, weights)
            self.published = version

    def observe(self, simulation: Simulation, _event: Event, actions: Sequence[Action]) -> None:
        for action in actions:
            self.trace.refused += isinstance(action, Refused)
            if isinstance(action, Stepped) and action.version % self.every == 0:
                self.judge_now(simulation)

    def judge_now(self, simulation: Simulation) -> None:
        core = simulation.core
        accuracy, loss = self._judged(core.model)
        point = Point(simulation.now, core.version, core.updates, self.wire.down, self.wire.up, accuracy, loss)
        self.trace.points.append(point)
        self.progress(point)

    def _judged(self, model: Vector) -> tuple[float, float]:
        """Accuracy and loss, in parts that do not depend on the number of threads, as a sum's order matters."""
        engine, judge = self.trainer.engine, self.judge
        params = engine.begin(engine.plan.encode_down(self.trainer.unflat(model)))
        parts = [part for part in np.array_split(np.arange(len(judge)), _PARTS) if len(part)]
        found = list(self.pool.map(lambda part: engine.infer(params, judge.x[part], judge.y[part]), parts))
        sizes = np.array([len(part) for part in parts])
        right = int(np.rint(sizes * [one.accuracy for one in found]).sum())
        return right / len(judge), float(sizes @ [one.loss for one in found]) / len(judge)


@dataclass(frozen=True)
class _Client:
    """One of the core's clients."""

    index: int
    run: _Run
    pool: ThreadPoolExecutor

    def start(self, job: Assign, weights: Vector, now: float) -> Pending:
        trainer = self.run.trainer
        self.run.publish(job.version, weights)
        own = trainer.job(self.index, job.version, job.options.get("proximal_mu", 0.0))
        self.run.trace.downloads.add(own.sent)
        return _Work(self.run, job, own, weights, now, self.pool.submit(trainer.run, own))


@dataclass(frozen=True)
class _Work:
    """A job under way. What its answer changes is changed when that arrives, in the loop's own thread."""

    run: _Run
    job: Assign
    own: Job
    weights: Vector
    began: float
    future: Future[Turn]

    @property
    def earliest(self) -> float:
        return self.began + self.run.trainer.at_least_s(self.own.client)

    def finish(self) -> Update | Failed:
        turn = self.future.result()
        vector = turn.delta if self.job.form is Form.DELTA else self.weights + turn.delta
        at = self.began + turn.seconds
        return Update(at, self.job.client, self.job.job, self.job.version, vector, turn.samples, self.job.form)

    def arrived(self) -> None:
        turn = self.future.result()
        self.run.trainer.keep(self.own, turn)
        self.run.wire += turn.wire
        self.run.trace.clipped += turn.clipped
        self.run.trace.uploads.add(turn.payload)

    def cancel(self) -> None:
        """What it was sent has been sent."""
        self.future.cancel()
        self.run.trace.cancelled += 1
        self.run.wire += write(self.own.sent, self.run.trainer.device.chunk)
