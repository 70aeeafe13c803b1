"""What is compared by fleet_speed.py: networks, their clients' samples, and our programs for them."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.benchmarks.peers.case import Case, Floats, Weights
from bench.compiler.compile import INPUT_EXPONENT, Settings, compile_graph, write
from bench.compiler.differentiate import Dtype
from bench.compiler.layout import merged
from bench.data import fashion_mnist
from bench.fleet.engine import Engine, LocalTraining, compile_program
from bench.fleet.population import Pool, Population, Stragglers
from bench.fleet.rehearse import rehearsed_calibration
from bench.model.graph import Graph, MaxPool, Node, Window
from bench.model.zoo import load_zoo
from bench.model.zoo.builder import Builder

RATE = 2.0**-6
CLIENTS = 50
BATCHES = (1, 10)
CHECKED = 5
"""Clients whose weights must agree."""
_SEED = 1


@dataclass(frozen=True)
class Model:
    """A network, and the samples that a client passes over once."""

    side: int
    samples: int


MODELS: Mapping[str, Model] = {"mlp": Model(14, 100), "lenet-5": Model(28, 100), "ds-cnn": Model(28, 20)}


@cache
def graph(model: str) -> Graph:
    """The MLP has 6,634 parameters; the others are the zoo's."""
    if model != "mlp":
        return load_zoo(model, input_shape=(28, 28, 1), classes=fashion_mnist.CLASSES, seed=_SEED)
    net = Builder("fleet-mlp", (14, 14, 1), _SEED)
    net.dense(32)
    net.dense(fashion_mnist.CLASSES, activation="linear")
    return net.graph()


@cache
def shards(model: str) -> tuple[NDArray[np.int8], NDArray[np.uint8]]:
    """Fashion-MNIST among clients, Dirichlet 0.5, each with its own sensor: int8 [clients, samples, h, w, 1], uint8."""
    side, samples = MODELS[model].side, MODELS[model].samples
    data = fashion_mnist.load((side, side))
    pool = Pool(data.train_x.reshape(-1, side, side, 1), data.train_y)
    population = Population(pool, CLIENTS, samples, 0.5, _SEED, Stragglers(0.0, 1.0))
    held = [population.shard(client) for client in range(CLIENTS)]
    return np.stack([shard.x for shard in held]), np.stack([shard.y for shard in held])


@dataclass(frozen=True, eq=False)
class Ours:
    """A program for a model, number format and batch, and what its clients do."""

    engine: Engine
    graph: Graph
    trainings: tuple[LocalTraining, ...]
    state: str
    """Changes with everything that the compiled program consists of."""

    def weights(self, client: int) -> Weights:
        """With which a client ends, as peers have them."""
        params = self.engine.train_many([self.trainings[client]], learning_rate=RATE)[0][0]
        return named_weights(merged(self.graph, self.engine.plan.decode(params)))


@cache
def ours(model: str, dtype: Dtype, batch: int) -> Ours:
    """Compiles what the cache lacks. Raises ConfigError: no data set, no compiler."""
    x, y = shards(model)
    calibration = rehearsed_calibration(
        graph(model), "full", x.reshape(-1, *x.shape[2:]), y.reshape(-1), steps=0, learning_rate=RATE, seed=_SEED,
        source="fashion-mnist",
    )  # fmt: skip
    name = f"fleet_speed_{model}_{dtype}_batch{batch}".replace("-", "_")
    write(compile_graph(graph(model), Settings("full", dtype, batch), calibration, name))
    engine = Engine(name)
    start = engine.begin(engine.initial())
    trainings = tuple(LocalTraining(start, x[client], y[client], seed=1000 * client) for client in range(CLIENTS))
    return Ours(engine, graph(model), trainings, compile_program(name).name)


def peers_case(model: str, batch: int, *, repeats: int, seconds: float) -> Case:
    """The same for peers, with the weights that our float32 engine ends with."""
    x, y = shards(model)
    program = ours(model, "float32", batch)
    return Case(
        layers=[_layer(graph(model), node) for node in graph(model).nodes],
        batch=batch,
        rate=RATE,
        repeats=repeats,
        seconds=seconds,
        x=np.ldexp(x.astype(np.float32), -INPUT_EXPONENT),
        y=y.astype(np.int64),
        start=named_weights(graph(model)),
        expected=[program.weights(client) for client in range(CHECKED)],
    )


def named_weights(network: Graph) -> Weights:
    """A network's weights as peers have them."""
    found: dict[str, Floats] = {}
    for node in network.nodes:
        if node.weights is not None and node.bias is not None:
            found[f"{node.name}.weight"], found[f"{node.name}.bias"] = node.weights, node.bias
    return found


def cores() -> int:
    """That this process may use."""
    return len(os.sched_getaffinity(0))


def _layer(network: Graph, node: Node) -> dict[str, Any]:
    source = network.shape_of(node.inputs[0])
    said: dict[str, Any] = {"name": node.name, "relu": node.activation == "relu", "outputs": node.shape[2]}
    if node.is_conv and node.conv.kernel == source[:2] and node.shape[:2] == (1, 1):
        return {**said, "op": "dense", "inputs": math.prod(source)}
    assert isinstance(node.op, Window), f"{node.name}: no operator of these networks"
    before = node.op.pad
    after = [
        max(0, (node.shape[axis] - 1) * node.op.stride[axis] + node.op.kernel[axis] - source[axis] - before[axis])
        for axis in (0, 1)
    ]
    said |= {"kernel": node.op.kernel, "stride": node.op.stride, "pad": [*before, *after], "inputs": source[2]}
    if node.is_conv:
        return {**said, "op": "conv", "groups": node.conv.groups}
    return {**said, "op": "max_pool" if isinstance(node.op, MaxPool) else "avg_pool"}
