"""What the server can learn from without its clients: public samples, as sensors that it has not met would see them."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bench.compiler.compile import INPUT_EXPONENT, Settings, compile_graph, random_calibration, write
from bench.compiler.layout import merged
from bench.data import fashion_mnist
from bench.data.shift import Shift
from bench.errors import ConfigError
from bench.fleet.engine import Engine
from bench.fleet.population import Pool
from bench.model.graph import Graph
from bench.selection.contribution import Task

SENSORS = 20
_SHARE_TO_JUDGE = 0.4


@dataclass(frozen=True)
class Public:
    """Public samples: to pretrain on as they are, and those of the task."""

    pretrain: Pool
    learn: Pool
    judge: Pool

    def task(self, steps: int, learning_rate: float, seed: int) -> Task:
        """Learning from `learn`, judged by `judge`."""
        return Task(self.learn.x, self.learn.y, self.judge.x, self.judge.y, steps, learning_rate, seed)


def from_fashion_mnist(graph: Graph, seed: int) -> Public:
    """10,000 images to pretrain on; 2,000 each to learn from and to judge by, of SENSORS sensors.

    Raises:
        ConfigError: the data set is absent, or the network does not take its images.
    """
    height, width, channels = graph.input_shape
    if channels != 1 or graph.outputs != fashion_mnist.CLASSES or graph.reconstructs:
        raise ConfigError(
            f"model {graph.name} takes {height}x{width}x{channels} and has {graph.outputs} outputs: Fashion-MNIST has "
            "one channel and ten classes; give samples of your own with --data FILE.npz"
        )
    data = fashion_mnist.load((height, width))
    pool = Pool(data.train_x.reshape(-1, height, width, 1), data.train_y)
    order = np.random.default_rng([seed, 9]).permutation(len(pool)).astype(np.int32)
    learn, judge = pool[order[10_000:12_000]], pool[order[12_000:14_000]]
    return Public(pool[order[:10_000]], seen_by_strangers(learn, seed), seen_by_strangers(judge, seed))


def from_file(path: Path, graph: Graph, seed: int) -> Public:
    """A .npz file with float32 `x` [n, h, w, c] and integer `y` [n]: all to pretrain on; 60 % to learn from and the
    rest to judge by, in random order.

    Raises:
        ConfigError: not such a file.
    """
    try:
        with np.load(path, allow_pickle=False) as stored:
            x, y = stored["x"], stored["y"]
    except (OSError, ValueError, KeyError, zipfile.BadZipFile, EOFError) as error:
        raise ConfigError(f"{path}: not a .npz file with x and y: {error}") from error
    if x.shape[1:] != graph.input_shape or x.dtype.kind != "f" or y.shape != x.shape[:1] or y.dtype.kind not in "iu":
        raise ConfigError(
            f"{path}: x {x.dtype}{list(x.shape)}, y {y.dtype}{list(y.shape)}; wanted are float x "
            f"{['n', *graph.input_shape]} and whole numbers y"
        )
    if len(y) < 10 or not np.isfinite(x).all() or y.min() < 0 or y.max() >= graph.outputs:
        raise ConfigError(
            f"{path}: fewer than 10 samples, values that are not finite, or labels not below {graph.outputs}"
        )
    stored_x = np.clip(np.rint(np.ldexp(x, INPUT_EXPONENT)), -128, 127).astype(np.int8)
    order = np.random.default_rng([seed, 9]).permutation(len(y)).astype(np.int32)
    pool = Pool(stored_x[order], y[order].astype(np.uint8))
    cut = round(len(pool) * (1 - _SHARE_TO_JUDGE))
    return Public(pool, pool[:cut], pool[cut:])


def pretrained(graph: Graph, pool: Pool, steps: int, learning_rate: float, seed: int) -> Graph:
    """The network after so many float32 steps of batch 1 on the host-compiled engine, all parameters free."""
    if steps == 0:
        return graph
    compiled = compile_graph(graph, Settings(dtype="float32"), random_calibration(graph), "choose_pretrain")
    write(compiled)
    engine = Engine(compiled.plan.name)
    generator = np.random.default_rng([seed, 10])
    order = np.concatenate([generator.permutation(len(pool)) for _ in range(-(-steps // len(pool)))])[:steps]
    params = engine.begin(engine.initial())
    for index, part in enumerate(np.array_split(order, 8)):
        falling = learning_rate * (1 - 0.9 * index / 7)
        params, _ = engine.train(params, pool.x, pool.y, learning_rate=falling, seed=seed, order=part)
    return merged(compiled.graph, engine.plan.decode(params))


def seen_by_strangers(pool: Pool, seed: int) -> Pool:
    """Samples as SENSORS sensors see them, which are no client's: they are drawn from a seed of the server's own."""
    parts = np.array_split(np.arange(len(pool)), SENSORS)
    x = [Shift.draw(seed + 0x5EED, sensor).apply(pool.x[part]) for sensor, part in enumerate(parts)]
    return Pool(np.concatenate(x), pool.y)
