"""What the federation asks of a client, whatever carries it out: a board on a rack, or a program on the host."""

from __future__ import annotations

import base64
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from bench.results.table import Kind

Progress = Callable[[int, int], None]
"""Called with samples done and samples in all."""


@dataclass(frozen=True)
class ClientState:
    """What a client keeps from one job to the next where updates travel coded.

    `base`: the model as it was sent down last, which the next difference is taken to; None before any. `feedback`: the
    error feedback as it lies in the client's memory; None where it is zero, or where nothing is known of it.
    """

    base: bytes | None = None
    feedback: bytes | None = None

    def to_json(self) -> dict[str, str | None]:
        """As JSON can hold it."""
        return {name: None if part is None else base64.b64encode(part).decode("ascii") for name, part in self._parts()}

    @classmethod
    def from_json(cls, kept: Mapping[str, str | None]) -> ClientState:
        """What `to_json` was asked of."""
        return cls(**{name: None if part is None else base64.b64decode(part) for name, part in kept.items()})

    def _parts(self) -> tuple[tuple[str, bytes | None], ...]:
        return ("base", self.base), ("feedback", self.feedback)


@dataclass(frozen=True)
class TrainJob:
    """One client's work, which depends on nothing but this.

    `round` is the server step that it was given for, from 1. `down` is the whole model as it travels; `first` and
    `count` name samples of the client's own shard, which wrap at its end; step i uses `seed` + i for its stochastic
    rounding. `state` is what the client has to go on from, None where parameters travel whole: whoever does the job
    brings that about, however the client was left by the job before.
    """

    round: int
    variant: str
    down: bytes
    first: int
    count: int
    learning_rate: float
    seed: int
    state: ClientState | None = None


@dataclass(frozen=True)
class Figure:
    """A figure of one client's work, a row of the table but for where it comes from."""

    metric: str
    value: float
    kind: Kind
    phase: str = ""


@dataclass(frozen=True)
class Trained:
    """What comes back: the update as it travels, and how the training went.

    `loss` (nats) and `accuracy` (0 to 1) are means over the samples as they were trained on; `saturated` counts values
    that were clipped. `seconds` are modelled: what the client was busy with the job, training and link. `state` is what
    the client has after it.
    """

    client: str
    round: int
    update: bytes
    samples: int
    loss: float
    accuracy: float
    saturated: int
    seconds: float
    figures: tuple[Figure, ...]
    state: ClientState | None = None


class Client(Protocol):
    """A participant. `fit` and `recover` run in a thread of the client's host; a host does one thing at a time."""

    @property
    def name(self) -> str:
        """Unique in the cohort."""
        ...

    @property
    def host(self) -> str:
        """What carries it out. Clients of one host take turns, in the order in which they are asked."""
        ...

    @property
    def capacity(self) -> int:
        """Samples that the client holds."""
        ...

    def at_least_s(self, job: TrainJob) -> float:
        """No answer's `seconds` are fewer; known before the job is done."""
        ...

    def fit(self, job: TrainJob, progress: Progress, cancelled: threading.Event) -> Trained:
        """Trains; returns soon after `cancelled` is set. Raises BenchError when it cannot."""
        ...

    def recover(self) -> None:
        """Brings a client that failed or was given up back to where `fit` can work. Raises BenchError."""
        ...
