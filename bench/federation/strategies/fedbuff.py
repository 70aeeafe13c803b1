"""FedBuff (Nguyen et al., Federated Learning with Buffered Asynchronous Aggregation, AISTATS 2022).

Algorithm 1: once the buffer holds K updates, w ← w + η_g · (1/K) Σ s(τ_i) Δ_i, with the paper's s(τ) = 1 / √(1 + τ).
The paper's Δ points from the trained weights to the first; ours is the opposite, hence the sign. The sum is divided by
K, not by Σ s: stale buffers make shorter steps.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bench.federation.strategies.base import DeltaStrategy, Received


@dataclass(frozen=True)
class FedBuff(DeltaStrategy):
    """`buffer` is K, from 1; `server_rate` is η_g."""

    buffer: int = 10
    server_rate: float = 1.0

    @property
    def capacity(self) -> int | None:
        """K."""
        return self.buffer

    def factors(self, updates: Sequence[Received]) -> NDArray[np.float64]:
        """See Strategy: η_g / (K √(1 + τ))."""
        staleness = np.array([update.staleness for update in updates], dtype=np.float64)
        return self.server_rate / (self.buffer * np.sqrt(1.0 + staleness))
