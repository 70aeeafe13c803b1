"""What all strategies share: the updates of a step, and sums over them that do not depend on who came first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from bench.federation.events import Form, ReceivedVector, Vector


@dataclass(slots=True)
class Received:
    """An update that was taken.

    `vector` [parameters] is finite; `staleness` is the number of server steps since the version that the client began
    from, 0 for the current one; `variance` is that of the vector's coordinates, None where the strategy does not ask.
    """

    client: str
    job: int
    staleness: int
    samples: int
    variance: float | None
    vector: ReceivedVector


@dataclass(frozen=True, slots=True)
class Step:
    """A step made: the next weights [parameters] in an array of their own, what went in, by client and job, and what
    each of these was multiplied by."""

    weights: Vector
    updates: Sequence[Received]
    factors: NDArray[np.float64]


class Strategy(Protocol):
    """How updates become the next model: a pure function and its constants. One is a frozen dataclass.

    Strategies take updates in any order and give the same bits for each.
    """

    @property
    def form(self) -> Form:
        """What updates have to be."""
        ...

    @property
    def capacity(self) -> int | None:
        """Updates that make a step; None where the end of a round does."""
        ...

    @property
    def needs_variance(self) -> bool:
        """Whether it looks at the updates' variance."""
        ...

    @property
    def client_options(self) -> Mapping[str, float]:
        """What clients are told with each job."""
        ...

    def factors(self, updates: Sequence[Received]) -> NDArray[np.float64]:
        """What each update's vector is multiplied by, server rate included: [updates], finite and from 0."""
        ...

    def step(self, weights: Vector, updates: Sequence[Received]) -> Step:
        """The next weights, given these [parameters]. `updates` has one at least."""
        ...


def in_order(updates: Sequence[Received]) -> list[Received]:
    """By client and job: sums of floating-point numbers depend on their order."""
    return sorted(updates, key=lambda update: (update.client, update.job))


class DeltaStrategy:
    """The base of those that step by w ← w + Σ f_i Δ_i; they differ in f_i alone."""

    __slots__ = ()

    @property
    def form(self) -> Form:
        """Changes."""
        return Form.DELTA

    @property
    def needs_variance(self) -> bool:
        """Not unless said otherwise."""
        return False

    @property
    def client_options(self) -> Mapping[str, float]:
        """None unless said otherwise."""
        return {}

    def factors(self, updates: Sequence[Received]) -> NDArray[np.float64]:
        """See Strategy."""
        raise NotImplementedError

    def step(self, weights: Vector, updates: Sequence[Received]) -> Step:
        """See Strategy."""
        ordered = in_order(updates)
        factors = self.factors(ordered)
        total = np.zeros_like(weights)
        scaled = np.empty_like(weights)
        for factor, update in zip(factors, ordered, strict=True):
            np.multiply(update.vector, factor, out=scaled, dtype=np.float64)
            total += scaled
        total += weights
        return Step(total, ordered, factors)
