"""How fast the host trains and infers: the fleet's engine, every zoo model in float32 and int8, batch 1.

    python -m bench.benchmarks.host [--models mlp lenet-5 ...] [--seconds 1.0] [--kernels general] [--json FILE]

One core is timed by the CPU time of its thread, best of three, so that other work on the machine counts little; all
cores by the clock, a client on each. Products are the multiply-accumulates of a forward pass. As a peer, a multilayer
perceptron in plain numpy takes the same steps.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench.benchmarks.files import write_document
from bench.compiler.differentiate import Dtype
from bench.compiler.recipe import Recipe, make
from bench.fleet.engine import KERNELS, Engine, Kernels
from bench.model.graph import Graph
from bench.model.zoo import load_zoo, zoo_names

DTYPES: tuple[Dtype, ...] = ("float32", "int8")
_SCHEMES = {"mcunet-5fps": "tte-49kb"}
"""What trains where that is not everything."""
_SAMPLES = 64
_TRIES = 3
_PEER = "mlp"
_RATE = 2.0**-10


@dataclass(frozen=True)
class Speed:
    """A second's training steps and forward samples, on one core and on all; None: not measured."""

    model: str
    scheme: str
    engine: str
    steps: float
    samples: float
    steps_all: float | None
    samples_all: float | None
    products: int


Batch = tuple[NDArray[np.int8], NDArray[np.uint8]]


def random_batch(sample_bytes: int, classes: int) -> Batch:
    """Seeded features and labels."""
    generator = np.random.default_rng(0)
    features = generator.integers(-100, 101, (_SAMPLES, sample_bytes)).astype(np.int8)
    return features, generator.integers(0, classes, _SAMPLES).astype(np.uint8)


def products(graph: Graph) -> int:
    """Multiply-accumulates of a forward pass, taps outside the map included."""
    return sum(node.shape[0] * node.shape[1] * node.weights.size for node in graph.nodes if node.weights is not None)


def measure(model: str, dtype: Dtype, kernels: Kernels, seconds: float) -> Speed:
    """Compiles a program and runs it, on one core for about three times `seconds`, then on all."""
    scheme = _SCHEMES.get(model, "full")
    compiled = make(Recipe(model, scheme, dtype))
    plan = compiled.plan
    engine = Engine(plan.name, kernels=kernels)
    samples, labels = random_batch(plan.sample_bytes, plan.classes)
    params = engine.begin(engine.initial())

    def train(count: int) -> None:
        engine.train(params, samples, labels, learning_rate=_RATE, seed=1, count=count)

    def infer(count: int) -> None:
        rounds = -(-count // _SAMPLES)
        engine.infer(params, np.tile(samples, (rounds, 1))[:count], np.tile(labels, rounds)[:count])

    found = {}
    for name, work in (("steps", train), ("samples", infer)):
        count, found[name] = on_one_core(work, seconds)
        found[f"{name}_all"] = on_all_cores(work, count)
    return Speed(model, scheme, dtype, products=products(compiled.graph), **found)


def on_one_core(work: Callable[[int], None], seconds: float) -> tuple[int, float]:
    """How often work happens in `seconds`, and in one of this thread's CPU time at best."""
    work(1)
    count = 1
    while True:
        spent = _spent(work, count, time.thread_time)
        if spent > seconds / 10:
            break
        count *= 4
    count = max(1, round(count * seconds / spent))
    return count, count / min(_spent(work, count, time.thread_time) for _ in range(_TRIES))


def on_all_cores(work: Callable[[int], None], count: int) -> float:
    """How often a second work happens in as many threads as there are cores."""
    cores = os.cpu_count() or 1
    with ThreadPoolExecutor(cores) as pool:

        def everywhere(each: int) -> None:
            list(pool.map(work, [each] * cores))

        return cores * count / min(_spent(everywhere, count, time.perf_counter) for _ in range(_TRIES))


def _spent(work: Callable[[int], None], count: int, clock: Callable[[], float]) -> float:
    start = clock()
    work(count)
    return clock() - start


def measure_numpy(seconds: float) -> Speed:
    """The peer: the same network's steps in float32 as anyone would write them with numpy's BLAS."""
    graph = load_zoo(_PEER)
    size = int(np.prod(graph.input_shape))
    layers = [(node.weights.reshape(len(node.weights), -1).T.copy(), node.bias.copy())
              for node in graph.nodes if node.weights is not None and node.bias is not None]  # fmt: skip
    samples, labels = random_batch(size, graph.nodes[-1].size)
    inputs = samples.astype(np.float32) / 64

    def forward(index: int) -> list[NDArray[np.float32]]:
        maps = [inputs[index]]
        for number, (weights, bias) in enumerate(layers):
            sums = maps[-1] @ weights + bias
            maps.append(np.maximum(sums, 0) if number + 1 < len(layers) else sums)
        return maps

    def train(count: int) -> None:
        for step in range(count):
            maps = forward(step % _SAMPLES)
            exponentials = np.exp(maps[-1] - maps[-1].max())
            gradient = exponentials / exponentials.sum()
            gradient[labels[step % _SAMPLES]] -= 1
            for (weights, bias), x in zip(reversed(layers), reversed(maps[:-1]), strict=True):
                below = (weights @ gradient) * (x > 0)
                weights -= np.float32(_RATE) * np.outer(x, gradient)
                bias -= np.float32(_RATE) * gradient
                gradient = below

    def infer(count: int) -> None:
        for index in range(count):
            forward(index % _SAMPLES)

    steps, forwards = on_one_core(train, seconds)[1], on_one_core(infer, seconds)[1]
    return Speed(_PEER, "full", "numpy", steps, forwards, None, None, products(graph))


def table(speeds: Sequence[Speed]) -> list[str]:
    """As Markdown."""
    head = ("model", "scheme", "engine", "steps/s", "samples/s", "million products/s", "steps/s, all cores",
            "samples/s, all cores")  # fmt: skip
    lines = ["| " + " | ".join(head) + " |", "| --- | --- | --- |" + " ---: |" * (len(head) - 3)]
    for speed in speeds:
        rate = speed.samples * speed.products / 1e6
        figures = (speed.steps, speed.samples, rate, speed.steps_all, speed.samples_all)
        cells = [speed.model, speed.scheme, speed.engine, *("–" if f is None else f"{f:,.0f}" for f in figures)]
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def main(arguments: Sequence[str] | None = None) -> int:
    """Measures, prints, and writes the document if asked."""
    parser = argparse.ArgumentParser(prog="python -m bench.benchmarks.host", description="the host engine's speed")
    parser.add_argument("--models", nargs="+", default=list(zoo_names()), choices=list(zoo_names()))
    parser.add_argument("--seconds", type=float, default=1.0, help="of each measurement")
    parser.add_argument("--kernels", default="host", choices=KERNELS, help="which kernels: the host's, or the general")
    parser.add_argument("--json", type=Path, help="write the document here, too")
    options = parser.parse_args(arguments)
    speeds = []
    for model in options.models:
        for dtype in DTYPES:
            print(f"host: {model}, {dtype}", file=sys.stderr)
            speeds.append(measure(model, dtype, options.kernels, options.seconds))
    if _PEER in options.models:
        os.environ["OPENBLAS_NUM_THREADS"] = "1"  # read when the new process loads numpy
        with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
            speeds.append(pool.submit(measure_numpy, options.seconds).result())
    print("\n".join(table(speeds)))
    if options.json is not None:
        rows = [asdict(speed) for speed in speeds]
        write_document(options.json, "host", {"kernels": options.kernels, "cores": os.cpu_count(), "rows": rows})
    return 0


if __name__ == "__main__":
    sys.exit(main())
