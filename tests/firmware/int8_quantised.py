"""Real tensors as the int8 engine stores them: what the tests of its gradients and updates share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from float32_reference import Array, Double
from int8_backward_cases import Weights
from numpy.typing import NDArray


def exponent_for(largest: float) -> int:
    """The largest e with largest * 2^e <= 127."""
    return int(np.floor(np.log2(127 / max(largest, 2.0**-60))))


@dataclass(frozen=True)
class Stored:
    """int8 values and their exponent, one for all or one a channel."""

    values: NDArray[np.int8]
    exponent: Any

    @classmethod
    def of(cls, real: Array, exponent: int | None = None) -> Stored:
        e = exponent_for(float(np.abs(real).max())) if exponent is None else exponent
        return cls(np.clip(np.rint(real * 2.0**e), -127, 127).astype(np.int8), e)

    @property
    def real(self) -> Double:
        return self.values * 2.0**-self.exponent


@dataclass(frozen=True)
class StoredWeights:
    """Weights with an exponent for each output channel, `axis`: exponent - lift."""

    values: NDArray[np.int8]
    lift: NDArray[np.int8]
    exponent: int
    axis: int

    @classmethod
    def of(cls, real: Array, axis: int = 0, terms: int = 1) -> StoredWeights:
        """terms: products under one sum of an input gradient, which limit the lift."""
        others = tuple(i for i in range(real.ndim) if i != axis)
        wanted = np.array([exponent_for(float(m)) for m in np.abs(real).max(axis=others)])
        exponent = int(min(wanted.max(), wanted.min() + min(7, 17 - (terms - 1).bit_length())))
        lift = exponent - np.minimum(wanted, exponent)
        values = np.rint(real * 2.0 ** cls._spread(exponent - lift, axis, real.ndim))
        return cls(np.clip(values, -128, 127).astype(np.int8), lift.astype(np.int8), exponent, axis)

    @staticmethod
    def _spread(channels: Array, axis: int, dimensions: int) -> Array:
        return channels.reshape([-1 if i == axis else 1 for i in range(dimensions)])

    def units(self, bits: int = 0) -> Double:
        """What one unit of a weight (2^-bits of it) stands for, broadcast to the weights."""
        exponents = self.exponent + bits - self.lift.astype(np.int64)
        return self._spread(2.0**-exponents, self.axis, self.values.ndim)

    @property
    def real(self) -> Double:
        return self.values * self.units()

    def trained(self, rule: str) -> Weights:
        """All of them, as an update takes them, without residual."""
        dtype = {"compensated": np.int8, "accumulated": np.int16, "truncated": None}[rule]
        residuals = None if dtype is None else np.zeros(self.values.shape, dtype)
        return Weights(rule, self.values.copy(), residuals, self.lift, self.exponent)

    def moved(self, weights: Weights) -> Double:
        """By how much an update has moved them, in real units."""
        moved = (weights.values.astype(np.int64) - self.values) * 256
        if weights.residuals is not None:
            moved = moved + weights.residuals
        return moved * self.units(8)


def cosine(a: Array, b: Array) -> float:
    return float((a * b).sum() / np.sqrt((a * a).sum() * (b * b).sum()))
