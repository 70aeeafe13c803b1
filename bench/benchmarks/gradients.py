"""How far do int8 gradients turn from those of float32, layer by layer, through a whole network?

    python -m bench.benchmarks.gradients [--models lenet-5 ...]

Both engines take one step from the same weights on the same image of Fashion-MNIST, over and over from those weights.
What a step moved is compared: for each image (the cosine of a batch-1 gradient), and summed over all images (the cosine
of the mean gradient, which is what stochastic rounding keeps). The network is the one that the training benchmark
adapts, trained in float32; int8's gradient scales have settled before.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.benchmarks.files import write_document
from bench.benchmarks.training import BUDGETS, base, load_data
from bench.compiler.compile import Calibration, Settings, compile_graph, random_calibration, write
from bench.compiler.differentiate import Dtype
from bench.fleet.engine import Engine
from bench.fleet.rehearse import rehearsed_calibration

_SETTLE = 200
_IMAGES = 64
_RATE = 2.0**-7
"""Of the steps that are compared: large enough that rounding of the weights themselves does not count."""
_NO_RATE = 2.0**-16
_FIRST = 30_000
_BETWEEN = 24
"""Other images that int8's scales see from one measured image to the next."""
_ROUNDS = 4
"""Each image is seen with so many seeds of the stochastic rounding when the mean gradient is formed."""


class _Side:
    """One number format's engine at the weights that steps begin with."""

    def __init__(self, model: str, dtype: Dtype, seed: int) -> None:
        data, budget = load_data(), BUDGETS[model]
        graph = base(model, seed, 1.0, data)
        calibration: Calibration = random_calibration(graph)
        if dtype == "int8":
            calibration = rehearsed_calibration(
                graph, "full", data.train_x, data.train_y, steps=budget.adapt_steps, learning_rate=budget.adapt_rate,
                seed=seed, source="fashion-mnist",
            )  # fmt: skip
        compiled = compile_graph(graph, Settings("full", dtype), calibration, f"gradients_{dtype}")
        write(compiled)
        self._engine = Engine(compiled.plan.name)
        self._data = data
        params = self._engine.begin(self._engine.initial())
        self._params = params
        self._seen = 0
        self.settle(_SETTLE)

    def settle(self, steps: int) -> None:
        """Lets the gradient scales see the next images, while the weights stay (but for a last bit)."""
        chosen = slice(self._seen, self._seen + steps)
        self._seen += steps
        self._params, _ = self._engine.train(
            self._params, self._data.train_x[chosen], self._data.train_y[chosen], learning_rate=_NO_RATE, seed=steps
        )
        self._before = self._engine.plan.decode(self._params)

    def gradient(self, image: int, seed: int) -> dict[str, NDArray[np.float64]]:
        """What a step moves, by tensor."""
        chosen = slice(image, image + 1)
        after, _ = self._engine.train(
            self._params, self._data.train_x[chosen], self._data.train_y[chosen], learning_rate=_RATE, seed=seed
        )
        moved = self._engine.plan.decode(after)
        return {name: (value - self._before[name]).ravel() for name, value in moved.items()}


def cosine(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    """Of the angle between two vectors; 0 where one of them is zero."""
    lengths = float(np.linalg.norm(a) * np.linalg.norm(b))
    return float(a @ b) / lengths if lengths > 0 else 0.0


def _length(vector: NDArray[np.float64]) -> float:
    return float(np.linalg.norm(vector))


def compare(model: str, seed: int = 1) -> list[dict[str, Any]]:
    """By tensor: median cosine of single gradients, cosine and ratio of the mean gradients."""
    int8, float32 = _Side(model, "int8", seed), _Side(model, "float32", seed)
    single: dict[str, list[float]] = defaultdict(list)
    sums: dict[str, list[NDArray[np.float64]]] = {}
    for number in range(_IMAGES):
        image = _FIRST + number
        int8.settle(_BETWEEN)
        exact = float32.gradient(image, 0)
        for round_ in range(_ROUNDS):
            found = int8.gradient(image, number * _ROUNDS + round_)
            for name, vector in found.items():
                single[name].append(cosine(vector, exact[name]))
                total = sums.setdefault(name, [np.zeros_like(vector), np.zeros_like(vector)])
                total[0] += vector
                total[1] += exact[name]
    return [
        {
            "tensor": name,
            "single_cosine": float(np.median(single[name])),
            "mean_cosine": cosine(*sums[name]),
            "mean_ratio": _length(sums[name][0]) / max(_length(sums[name][1]), 1e-30),
        }
        for name in single
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    """Compares, and writes the document."""
    parser = argparse.ArgumentParser(description="int8 gradients beside float32's, layer by layer")
    parser.add_argument("--models", nargs="+", default=list(BUDGETS), choices=list(BUDGETS))
    parser.add_argument("--output", type=Path, help="default: reports/bench/gradients.json")
    options = parser.parse_args(arguments)
    found = {}
    for model in options.models:
        found[model] = compare(model)
        for row in found[model]:
            print(
                f"{model} {row['tensor']}: single {row['single_cosine']:.3f}, mean {row['mean_cosine']:.3f}", flush=True
            )
    write_document(options.output, "gradients", {"models": found})
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
