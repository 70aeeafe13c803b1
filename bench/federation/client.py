"""What the server asks of a client, whatever carries it out: a board on a rack, or the host-compiled engine."""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from bench.results.table import Measurement

Progress = Callable[[int, int], None]
"""Called with samples done and samples in all."""


@dataclass(frozen=True)
class TrainJob:
    """One client's work in one round.

    `down` is the shared model as it travels; `first` and `count` name samples of the client's own shard, which wrap at
    its end; step i uses `seed` + i for its stochastic rounding.
    """

    round: int
    variant: str
    down: bytes
    first: int
    count: int
    learning_rate: float
    seed: int


@dataclass(frozen=True)
class Update:
    """What comes back: the trained parameters as they travel, and how the training went.

    `loss` (nats) and `accuracy` (0 to 1) are means over the samples as they were trained on; `saturated` counts values
    that were clipped.
    """

    client: str
    round: int
    params: bytes
    samples: int
    loss: float
    accuracy: float
    saturated: int
    measurements: tuple[Measurement, ...]


class Client(Protocol):
    """A participant. `fit` runs in a thread of its own; the server calls nothing else of the client meanwhile."""

    @property
    def name(self) -> str:
        """Unique in the cohort."""
        ...

    @property
    def capacity(self) -> int:
        """Samples that the client holds."""
        ...

    def fit(self, job: TrainJob, progress: Progress, cancelled: threading.Event) -> Update:
        """Trains; returns soon after `cancelled` is set. Raises BenchError when it cannot."""
        ...

    def recover(self) -> None:
        """Brings a client that failed or was cancelled back to where `fit` can work. Raises BenchError."""
        ...

    def close(self) -> None:
        """Lets go of what it holds."""
        ...
