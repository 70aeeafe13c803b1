"""FedAsync (Xie, Koyejo, Gupta, Asynchronous Federated Optimization, arXiv 1903.03934).

Algorithm 1: w ← (1 − α_t) w + α_t w_i with α_t = α · s(τ), for each update as it comes. The paper's three functions of
staleness, each 1 for an update begun from the current version (τ = 0):

    constant    s = 1
    polynomial  s = (1 + τ)^(−a)
    hinge       s = 1 if τ ≤ b, 1 / (a (τ − b) + 1) otherwise
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from bench.federation.events import Form, Vector
from bench.federation.strategies.base import Received, Step


@dataclass(frozen=True)
class FedAsync:
    """`alpha` in (0, 1]; `a` and `b` from 0."""

    alpha: float = 0.6
    staleness: Literal["constant", "polynomial", "hinge"] = "polynomial"
    a: float = 0.5
    b: float = 4.0

    @property
    def form(self) -> Form:
        """Trained weights: the mean is between models, not along a change from an old one."""
        return Form.TRAINED

    @property
    def capacity(self) -> int | None:
        """Each update is a step."""
        return 1

    @property
    def needs_variance(self) -> bool:
        """Not looked at."""
        return False

    @property
    def client_options(self) -> Mapping[str, float]:
        """None."""
        return {}

    def decay(self, staleness: int) -> float:
        """The function s, in (0, 1]."""
        if self.staleness == "constant":
            return 1.0
        if self.staleness == "polynomial":
            return float((1.0 + staleness) ** -self.a)
        return 1.0 if staleness <= self.b else 1.0 / (self.a * (staleness - self.b) + 1.0)

    def factors(self, updates: Sequence[Received]) -> NDArray[np.float64]:
        """See Strategy: α · s(τ)."""
        return np.array([self.alpha * self.decay(update.staleness) for update in updates])

    def step(self, weights: Vector, updates: Sequence[Received]) -> Step:
        """See Strategy. Raises ValueError for more than one update: the formula has no order for them."""
        (update,) = updates
        factors = self.factors(updates)
        share = float(factors[0])
        mixed = np.multiply(update.vector, share, dtype=np.float64)
        mixed += (1.0 - share) * weights
        return Step(mixed, updates, factors)
