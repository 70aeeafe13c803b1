"""All clients of a perceptron in one matrix product: `python -m bench.benchmarks.peers.numpy_stacked CASE OUTPUT`.

Weights are [clients, out, in]. Every product writes into an array that is there already, the rate is folded into the
smallest factor, and a batch of one is an outer product by broadcasting, which numpy does faster than a matrix product
of inner size 1.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import numpy as np

from .case import Case, Floats, Weights, check, load
from .measure import measure


class Stack:
    """A perceptron of dense layers, ReLU but at the end, for all clients of a case at once."""

    def __init__(self, case: Case) -> None:
        if any(layer["op"] != "dense" for layer in case.layers):
            raise SystemExit("numpy stacks perceptrons only")
        self._case = case
        self._names = [str(layer["name"]) for layer in case.layers]
        shape = (case.clients, case.steps, case.batch)
        inputs = int(np.prod(case.x.shape[2:]))
        self._x = np.ascontiguousarray(case.x.reshape(*shape, inputs).swapaxes(0, 1))
        one_hot = np.zeros((*shape, case.start[f"{self._names[-1]}.bias"].size), np.float32)
        np.put_along_axis(one_hot, case.y.reshape(*shape, 1), 1.0, axis=-1)
        self._wanted = np.ascontiguousarray(one_hot.swapaxes(0, 1))
        self._weights = [self._stacked(f"{name}.weight") for name in self._names]
        self._biases = [self._stacked(f"{name}.bias") for name in self._names]
        self._moves = [np.empty_like(weights) for weights in self._weights]

    def _stacked(self, name: str) -> Floats:
        value = self._case.start[name]
        flat = value.reshape(1, len(value), -1) if value.ndim > 1 else value.reshape(1, 1, -1)
        return np.repeat(flat, self._case.clients, axis=0)

    def train(self) -> None:
        """Every client's pass, from the common start."""
        for name, weights, bias in zip(self._names, self._weights, self._biases, strict=True):
            weights[:] = self._case.start[f"{name}.weight"].reshape(weights.shape[1:])
            bias[:] = self._case.start[f"{name}.bias"]
        for x, wanted in zip(self._x, self._wanted, strict=True):
            self._step(x, wanted)

    def weights(self, client: int) -> Weights:
        """Of a client, after train()."""
        found: Weights = {}
        for name, weights, bias in zip(self._names, self._weights, self._biases, strict=True):
            found[f"{name}.weight"] = weights[client].reshape(self._case.start[f"{name}.weight"].shape)
            found[f"{name}.bias"] = bias[client, 0]
        return found

    def _step(self, x: Floats, wanted: Floats) -> None:
        """`x` [clients, batch, in], `wanted` [clients, batch, classes]."""
        maps = [x]
        for weights, bias in zip(self._weights, self._biases, strict=True):
            out = _forward(maps[-1], weights)
            out += bias
            if weights is not self._weights[-1]:
                np.maximum(out, 0.0, out=out)
            maps.append(out)
        gradient = maps[-1]
        gradient -= gradient.max(axis=-1, keepdims=True)
        np.exp(gradient, out=gradient)
        gradient /= gradient.sum(axis=-1, keepdims=True)
        gradient -= wanted
        gradient *= np.float32(self._case.rate / self._case.batch)
        for layer in range(len(self._weights) - 1, -1, -1):
            weights, move = self._weights[layer], self._moves[layer]
            below = np.matmul(gradient, weights) if layer else gradient
            if self._case.batch == 1:
                np.multiply(gradient.swapaxes(1, 2), maps[layer], out=move)
            else:
                np.matmul(gradient.swapaxes(1, 2), maps[layer], out=move)
            weights -= move
            self._biases[layer] -= gradient.sum(axis=1, keepdims=True)
            if layer:
                below *= maps[layer] > 0
                gradient = below


def _forward(x: Floats, weights: Floats) -> Floats:
    product: Floats
    if x.shape[1] == 1:
        product = np.matmul(weights, x.swapaxes(1, 2)).swapaxes(1, 2)
    else:
        product = np.matmul(x, weights.swapaxes(1, 2))
    return product


def main(folder: Path, output: Path) -> None:
    """Checks, measures, writes. The number of threads is OPENBLAS_NUM_THREADS."""
    case = load(folder)
    stack = Stack(case)
    stack.train()
    distance = check(case, [stack.weights(client) for client in range(len(case.expected))])

    def run(count: int) -> None:
        for _ in range(count):
            stack.train()

    times = measure(run, most=100, updates=case.clients, repeats=case.repeats, seconds=case.seconds)
    threads = int(os.environ.get("OPENBLAS_NUM_THREADS", "0"))
    runs = [{"threads": threads, "distance": distance, **times}]
    document = {"versions": {"numpy": np.__version__}, "runs": runs}
    output.write_text(json.dumps(document), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
