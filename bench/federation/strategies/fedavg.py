"""Federated averaging (McMahan et al. 2017, algorithm 1): w ← Σ n_k w_k / Σ n_k, over the clients that answered.

`FedAvg` is for the event-driven core, over flat vectors; `fedavg` for the synchronous server, over named tensors.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bench.federation.strategies.base import DeltaStrategy, Received

Weights = Mapping[str, NDArray[np.float64]]
"""Tensors by name, as real values."""


@dataclass(frozen=True)
class Contribution:
    """One client's trained weights, and the weights that it started from, both as the client saw them."""

    client: str
    start: Weights
    trained: Weights
    samples: int


def fedavg(master: Weights, contributions: Sequence[Contribution]) -> dict[str, NDArray[np.float64]]:
    """Adds the mean change, weighted by samples, to the server's weights.

    Equal to averaging the clients' weights when they started from exactly the server's; when the broadcast was
    rounded, what rounding took away is kept at the server instead of being lost in each round. Contributions are summed
    in the order of their clients' names, so the result does not depend on who was first.
    """
    ordered = sorted(contributions, key=lambda contribution: contribution.client)
    total = float(sum(contribution.samples for contribution in ordered))
    result = {name: np.array(tensor, dtype=np.float64) for name, tensor in master.items()}
    for contribution in ordered:
        share = contribution.samples / total
        for name, tensor in result.items():
            tensor += share * (contribution.trained[name] - contribution.start[name])
    return result


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
