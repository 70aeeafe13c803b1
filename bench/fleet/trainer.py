"""One program on many simulated clients: what a client's turn takes, sends and changes.

Everything that a board would do is done, bit by bit: what is sent down is what travels (dense, or as the difference to
the version that the client has), it trains on its own samples with the host-compiled program, and what comes back is
dense or through the update codec, whose error feedback stays with the client. A client between its turns is its number,
the version that it has, and that error feedback.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from bench.federation.update_codec import UpdateCodec
from bench.fleet.device import Device
from bench.fleet.engine import Engine
from bench.fleet.population import Population
from bench.link.size import Wire, training_round
from bench.model.flat import flat, unflat
from bench.model.plan import Values

Vector = NDArray[np.float64]
"""All trained parameters as real values, flat, in the order of `plan.trained`."""

_KEPT_VERSIONS = 64
"""Differences are taken to the newest so many versions; a client with an older one gets the whole model."""


@dataclass(frozen=True)
class Job:
    """A client's turn: train from a version of the model, with the samples and random numbers that `turn` says.

    `turn`: how often this client has been asked before, so that its samples go on where they ended. `down`: the model
    as it is sent whole; `sent`: the bytes that it takes, as the difference to the version that the client has, if the
    server has it still. `proximal_mu`: FedProx's."""

    client: int
    turn: int
    down: bytes
    sent: int
    proximal_mu: float = 0.0


@dataclass(frozen=True)
class Turn:
    """What came of a job. `delta`: by how much the client moved the model, as the server decodes it. `seconds`:
    virtual, from the assignment to the arrival; `wire`: bytes both ways, framing included; `payload`: of the update
    alone."""

    delta: Vector
    samples: int
    seconds: float
    wire: Wire
    payload: int
    loss: float
    accuracy: float
    clipped: int
    error: NDArray[np.int32] | None


@dataclass
class Trainer:
    """A program, its board, and how clients train with it.

    Args:
        engine: the program on the host.
        device: the board whose time counts.
        population: the clients.
        steps: of batch 1 in a turn.
        learning_rate: of every step.
        seed: of the stochastic rounding.
        codec: of updates and differences; None sends models whole, both ways.
    """

    engine: Engine
    device: Device
    population: Population
    steps: int
    learning_rate: float
    seed: int
    codec: UpdateCodec | None = None
    _versions: OrderedDict[int, bytes] = field(default_factory=OrderedDict)
    _has: dict[int, int] = field(default_factory=dict)
    _turns: dict[int, int] = field(default_factory=dict)
    _errors: dict[int, NDArray[np.int32]] = field(default_factory=dict)
    _differences: dict[tuple[int, int], int] = field(default_factory=dict)

    def initial(self) -> Vector:
        """The model that the program begins with."""
        return self.flat(self.engine.plan.decode(self.engine.initial()))

    def publish(self, version: int, model: Vector) -> None:
        """Makes a version what clients are sent from now on."""
        self._versions[version] = self.engine.plan.encode_down(self.unflat(model))
        while len(self._versions) > _KEPT_VERSIONS:
            self._versions.popitem(last=False)

    def job(self, client: int, version: int, proximal_mu: float = 0.0) -> Job:
        """A client's next turn, from a version that was published lately. Called in the order of assignments."""
        had, turn = self._has.get(client), self._turns.get(client, 0)
        self._has[client], self._turns[client] = version, turn + 1
        return Job(client, turn, self._versions[version], self._sent(had, version), proximal_mu)

    def _sent(self, had: int | None, version: int) -> int:
        """Bytes that bring a client from the version that it has to this one."""
        down = self._versions[version]
        before = None if had is None or self.codec is None else self._versions.get(had)
        if before is None or self.codec is None or had is None:
            return len(down)
        if (had, version) not in self._differences:
            self._differences = {key: size for key, size in self._differences.items() if key[1] == version}
            self._differences[had, version] = len(self.codec.encode_down(down, before))
        return self._differences[had, version]

    def keep(self, job: Job, turn: Turn) -> None:
        """What a client keeps of a turn whose update has arrived; one that was cancelled leaves nothing."""
        if turn.error is not None:
            self._errors[job.client] = turn.error

    def run(self, job: Job) -> Turn:
        """Does a job, in any thread; a client does one at a time."""
        plan, shard, down = self.engine.plan, self.population.shard(job.client), job.down
        params, result = self.engine.train(
            self.engine.begin(down),
            shard.x,
            shard.y,
            learning_rate=self.learning_rate,
            seed=(self.seed * 1_000_003 + job.client * 8191 + job.turn * self.steps) % 2**31,
            first=job.turn * self.steps % len(shard),
            count=self.steps,
            proximal_mu=job.proximal_mu,
        )
        clipped, error = 0, None
        if self.codec is None:
            payload = plan.up_bytes
            delta = self.flat(plan.decode(params)) - self.flat(plan.decode(down))
        else:
            encoded = self.codec.encode(params[: plan.up_bytes], down, self._errors.get(job.client))
            if self.codec.settings.error_feedback:
                error = encoded.residual
            delta = self.flat(self.codec.to_real(self.codec.decode(encoded.blob)))
            payload, clipped = len(encoded.blob), encoded.clipped
        wire = training_round(job.sent, payload, self.device.chunk)
        busy = self.device.compute_s(self.steps) + self.device.link_s(wire)
        seconds = busy * self.population.slowdown(job.client)
        return Turn(delta, result.samples, seconds, wire, payload, result.loss, result.accuracy, clipped, error)

    def at_least_s(self, client: int) -> float:
        """No turn of this client takes less: its training alone."""
        return self.device.compute_s(self.steps) * self.population.slowdown(client)

    def flat(self, values: Values) -> Vector:
        """Tensors by name as one vector."""
        return flat(self.engine.plan, values)

    def unflat(self, vector: Vector) -> Values:
        """The inverse."""
        return unflat(self.engine.plan, vector)
