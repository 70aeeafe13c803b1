"""All trained parameters of a program as one vector, in the order of `plan.trained`: what a federation steps on."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bench.model.plan import Plan, Values


def flat(plan: Plan, values: Values) -> NDArray[np.float64]:
    """Tensors by name as one vector."""
    return np.concatenate([values[tensor.name].reshape(-1) for tensor in plan.trained])


def unflat(plan: Plan, vector: NDArray[np.float64]) -> Values:
    """The inverse."""
    parts = np.split(vector, np.cumsum([tensor.size for tensor in plan.trained])[:-1])
    return {tensor.name: part.reshape(tensor.shape) for tensor, part in zip(plan.trained, parts, strict=True)}
