"""Federated averaging (McMahan et al. 2017, algorithm 1): w ← Σ n_k w_k / Σ n_k, over the clients that answered."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bench.federation.strategies.base import DeltaStrategy, Received


@dataclass(frozen=True)
class FedAvg(DeltaStrategy):
    """w ← w + η_g Σ n_i Δ_i / Σ n_i at the end of a round, n_i being samples.

    `server_rate` η_g = 1 is McMahan et al.'s; others are Reddi et al. 2021 (Adaptive Federated Optimization,
    algorithm 1 with SGD as the server's optimiser).
    """

    server_rate: float = 1.0

    @property
    def capacity(self) -> int | None:
        """None: a round's end makes the step."""
        return None

    def factors(self, updates: Sequence[Received]) -> NDArray[np.float64]:
        """See Strategy."""
        samples = np.array([update.samples for update in updates], dtype=np.float64)
        return np.asarray(self.server_rate * samples / samples.sum(), dtype=np.float64)
