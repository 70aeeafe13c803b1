"""Contribution analysis: what each parameter group is worth when it alone is trained.

As in MCUNetV3 (Lin et al. 2022, arXiv:2206.15472, section 3.2), whose search was never released: the network is trained
for a while with one group free and all else frozen, on the host-compiled engine, bit by bit what a board would do. A
group's gain is by how much that lowers the loss on samples that it did not train on. The task is one that the server
can set itself, public samples as other sensors would see them: clients' data never leaves them."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench.compiler.compile import Settings, compile_graph, write
from bench.compiler.differentiate import Dtype
from bench.fleet.engine import Engine
from bench.fleet.rehearse import rehearsed_calibration
from bench.model.graph import Graph
from bench.model.plan import program_folder
from bench.results.files import write_atomically
from bench.selection.groups import Group, scheme_of


@dataclass(frozen=True)
class Task:
    """What is learnt: int8 samples [n, h, w, c] to train and to judge by, with labels, in so many steps of batch 1."""

    train_x: NDArray[np.int8]
    train_y: NDArray[np.uint8]
    judge_x: NDArray[np.int8]
    judge_y: NDArray[np.uint8]
    steps: int
    learning_rate: float
    seed: int = 0


@dataclass(frozen=True)
class Contribution:
    """Mean loss (nats) on the samples to judge by, and share of them that is right, before and after a group
    trained."""

    group: Group
    loss_before: float
    loss_after: float
    accuracy_before: float
    accuracy_after: float

    @property
    def gain(self) -> float:
        """By how much the loss fell; 0 for a group that made it worse."""
        return max(0.0, self.loss_before - self.loss_after)


def contributions(
    graph: Graph,
    groups: Sequence[Group],
    task: Task,
    cache: Path,
    dtype: Dtype = "int8",
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> list[Contribution]:
    """Trains each group alone, on all cores; what `cache` holds of an earlier call is not trained again.

    Args:
        graph: the network as the clients get it, without adapters.
        groups: of it.
        task: what to learn.
        cache: a folder.
        dtype: of the programs that are to train.
        progress: called with groups done and groups in all.

    Raises:
        ConfigError: the network cannot be compiled.
    """
    digest = _digest(graph, task, dtype)
    calibration = rehearsed_calibration(
        graph, "full", task.train_x, task.train_y, steps=task.steps, learning_rate=task.learning_rate,
        seed=task.seed + 1000, source="the task",
    )  # fmt: skip
    cache.mkdir(parents=True, exist_ok=True)
    done = 0

    def one(group: Group) -> Contribution:
        nonlocal done
        path = cache / f"{digest}-{group.layer}-{group.channels}.json"
        if path.is_file():
            kept = json.loads(path.read_text(encoding="utf-8"))
        else:
            settings = Settings(scheme_of([group]), dtype)
            name = f"choose_{digest}_{group.layer}_{group.channels}".lower()
            compiled = compile_graph(graph, settings, calibration, name)
            write(compiled)
            kept = _train(Engine(name), task)
            shutil.rmtree(program_folder(name))
            write_atomically(path, json.dumps(kept).encode())
        done += 1
        progress(done, len(groups))
        return Contribution(group, **kept)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(one, groups))


def _train(engine: Engine, task: Task) -> dict[str, float]:
    start = engine.begin(engine.initial())
    before = engine.infer(start, task.judge_x, task.judge_y)
    generator = np.random.default_rng(task.seed)
    passes = -(-task.steps // len(task.train_x))
    order = np.concatenate([generator.permutation(len(task.train_x)) for _ in range(passes)])[: task.steps]
    trained, _ = engine.train(
        start, task.train_x, task.train_y, learning_rate=task.learning_rate, seed=task.seed, order=order
    )
    after = engine.infer(trained, task.judge_x, task.judge_y)
    return {
        "loss_before": before.loss,
        "loss_after": after.loss,
        "accuracy_before": before.accuracy,
        "accuracy_after": after.accuracy,
    }


def _digest(graph: Graph, task: Task, dtype: Dtype) -> str:
    """Of what the gains depend on but for the kernels, whose arithmetic is fixed by their tests."""
    digest = hashlib.sha256(f"{graph.name} {graph.input_shape} {dtype} v1".encode())
    for node in graph.convs:
        assert node.weights is not None
        assert node.bias is not None
        digest.update(node.weights.tobytes() + node.bias.tobytes())
    for field, value in vars(task).items():
        digest.update(field.encode() + (value.tobytes() if isinstance(value, np.ndarray) else str(value).encode()))
    return digest.hexdigest()[:16]
