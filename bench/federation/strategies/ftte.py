"""FTTE-style: a buffer of updates, each weighted by its age and by its variance.

After Tenison, Murphy, Beauville, Kagal (FTTE, arXiv 2510.03165), which says that both count but does not publish a
formula that we could read. This one is ours:

    s_i = (1 + τ_i)^(−a) · (1 + σ_i² / σ̄²)^(−b)
    w ← w + η_g Σ s_i Δ_i / Σ s_i        ("weights")
    w ← w + η_g Σ s_i Δ_i / K            ("buffer": stale or noisy buffers make shorter steps)

σ_i² is the variance of update i over its coordinates, σ̄² the mean of these in the buffer. a = 0 ignores age, b = 0
variance; the published sign of b is not known, so it may be negative: then updates that vary more count more.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from bench.errors import ConfigError
from bench.federation.strategies.base import DeltaStrategy, Received

Array = NDArray[np.float64]

Formula = Callable[[Array, Array, float, float], Array]
"""Weights s [updates], finite and from 0, of staleness τ [updates], variance σ² [updates] and the exponents a and b."""


def power(staleness: Array, variance: Array, a: float, b: float) -> Array:
    """The formula above. Where all variances are equal, zero included, each σ_i² / σ̄² is 1."""
    return np.asarray((1.0 + staleness) ** -a * (1.0 + _relative(variance)) ** -b, dtype=np.float64)


def _relative(variance: Array) -> Array:
    """σ_i² / σ̄², in [0, K]; over the largest first, so that no mean is rounded to 0 and no sum overflows."""
    largest = variance.max()
    if largest <= 0.0:
        return np.ones_like(variance)
    scaled = variance / largest
    return np.asarray(scaled / scaled.mean(), dtype=np.float64)


FORMULAS: dict[str, Formula] = {"power": power}
"""By the name that an experiment gives; add others here."""


@dataclass(frozen=True)
class Ftte(DeltaStrategy):
    """`buffer` is K, from 1; `server_rate` is η_g; `a` from 0 and `b` of either sign are the formula's exponents."""

    buffer: int = 10
    server_rate: float = 1.0
    a: float = 0.5
    b: float = 0.5
    normalise: Literal["weights", "buffer"] = "weights"
    formula: str = "power"

    def __post_init__(self) -> None:
        if self.formula not in FORMULAS:
            raise ConfigError(f"federation.formula: {self.formula!r} is none of {', '.join(FORMULAS)}")

    @property
    def capacity(self) -> int | None:
        """K."""
        return self.buffer

    @property
    def needs_variance(self) -> bool:
        """Always, for the record, even where b is 0."""
        return True

    def factors(self, updates: Sequence[Received]) -> Array:
        """See Strategy. All 0 where each s_i is: a buffer that the formula gives no weight moves nothing.

        Raises ConfigError when the formula gives what is not a weight.
        """
        staleness = np.array([update.staleness for update in updates], dtype=np.float64)
        variance = np.array([update.variance for update in updates], dtype=np.float64)
        weights = FORMULAS[self.formula](staleness, variance, self.a, self.b)
        if weights.shape != staleness.shape or not (np.isfinite(weights).all() and (weights >= 0.0).all()):
            raise ConfigError(f"federation.formula: {self.formula} gives weights that are not finite and from 0")
        if self.normalise == "buffer":
            return np.asarray(self.server_rate * weights / self.buffer, dtype=np.float64)
        largest = weights.max()
        if largest <= 0.0:
            return np.zeros_like(weights)
        shares = weights / largest  # their sum is from 1 to K, however small the weights
        return np.asarray(self.server_rate * shares / shares.sum(), dtype=np.float64)
