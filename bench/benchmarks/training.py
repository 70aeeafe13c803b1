"""Does integer training lose accuracy? int8 beside float32 on Fashion-MNIST (28x28), for every scheme, seed by seed.

    python -m bench.benchmarks.training [--seeds 3] [--models lenet-5 ...] [--steps-scale 1.0]

The full scheme trains from random weights. The others adapt a network that knows something already, as a device in the
field would: a float32 network, trained on the images as they are, meets those of a sensor with half the gain and a
brighter black. All sides of a comparison begin with the same weights, see the same samples in the same order at the
same rates, and take batch 1. The ranges of int8 come from a rehearsal: a float32 twin that trains as long, in another
order. Everything runs on the host-compiled engine, bit by bit what boards compute. Finished runs are kept in the cache,
as long as the kernels stay the same.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.benchmarks.files import cache_folder, write_document
from bench.compiler.compile import Calibration, Settings, compile_graph, random_calibration, write
from bench.compiler.differentiate import Dtype
from bench.compiler.layout import merged
from bench.data import fashion_mnist
from bench.fleet.engine import Engine
from bench.fleet.rehearse import rehearsed_calibration
from bench.model.graph import Graph
from bench.model.plan import FIRMWARE, Rule
from bench.model.zoo import load_zoo

SHAPE = (28, 28, 1)
SCHEMES = ("full", "bias", "low-rank-4", "sparse-25")
_SEGMENTS = 12
"""The rate falls linearly to a tenth, in so many steps."""


@dataclass(frozen=True)
class Budget:
    """Steps and the first rate: of training in full, of the network to adapt, and of adapting it."""

    full_steps: int
    full_rate: float
    base_steps: int
    adapt_steps: int
    adapt_rate: float


BUDGETS = {
    "lenet-5": Budget(120_000, 0.01, 30_000, 12_000, 0.01),
    "ds-cnn": Budget(20_000, 0.01, 10_000, 4_000, 0.01),
    "resnet-8": Budget(9_000, 0.01, 7_000, 2_500, 0.005),
}
_PROTOCOL = 3
"""To be raised when what is done changes otherwise than by the kernels and the budgets."""


@dataclass(frozen=True)
class Run:
    """One training: what, from which seed, in which number format."""

    model: str
    scheme: str
    dtype: Dtype
    rule: Rule
    seed: int
    scale: float = 1.0

    @property
    def name(self) -> str:
        """Of the emitted program."""
        text = json.dumps(asdict(self), sort_keys=True)
        return f"bench_{hashlib.sha256(text.encode()).hexdigest()[:16]}"


@dataclass(frozen=True)
class Data:
    """Fashion-MNIST as int8 features [n, 28, 28, 1], upright and turned."""

    train_x: NDArray[np.int8]
    train_y: NDArray[np.uint8]
    test_x: NDArray[np.int8]
    test_y: NDArray[np.uint8]

    def dimmed(self) -> Data:
        """The same images as a sensor sees them that has half the gain and a brighter black."""

        def dim(x: NDArray[np.int8]) -> NDArray[np.int8]:
            dimmed: NDArray[np.int8] = np.rint(x.astype(np.float32) * 0.5 + 20.0).astype(np.int8)
            return dimmed

        return Data(dim(self.train_x), self.train_y, dim(self.test_x), self.test_y)


def load_data() -> Data:
    """Raises ConfigError where Debian's package is missing."""
    data = fashion_mnist.load(SHAPE[:2])
    return Data(data.train_x.reshape(-1, *SHAPE), data.train_y, data.test_x.reshape(-1, *SHAPE), data.test_y)


SIDES: tuple[tuple[Dtype, Rule], ...] = (
    ("float32", "compensated"),
    ("int8", "compensated"),
    ("int8", "compensated4"),
    ("int8", "truncated"),
)


def cells(models: Sequence[str], seeds: Sequence[int], scale: float) -> list[list[Run]]:
    """The sides of each comparison: float32, int8 and, with the first seed, int8 with the other update rules."""
    return [
        [Run(model, scheme, dtype, rule, seed, scale) for dtype, rule in (SIDES if seed == seeds[0] else SIDES[:2])]
        for model in models
        for seed in seeds
        for scheme in SCHEMES
    ]


def train(engine: Engine, data: Data, steps: int, rate: float, seed: int, params: bytes | None = None) -> bytes:
    """Trains in an order drawn anew for each pass, at a rate that falls linearly to a tenth."""
    generator = np.random.default_rng(seed)
    passes = -(-steps // len(data.train_x))
    order = np.concatenate([generator.permutation(len(data.train_x)) for _ in range(passes)])[:steps]
    stored = engine.begin(engine.initial()) if params is None else params
    for index, part in enumerate(np.array_split(order, _SEGMENTS)):
        falling = rate * (1.0 - 0.9 * index / (_SEGMENTS - 1))
        stored, _ = engine.train(
            stored, data.train_x, data.train_y, learning_rate=falling, seed=seed + 7919 * index, order=part
        )
    return stored


def base(model: str, seed: int, scale: float, data: Data) -> Graph:
    """The network that adapters, biases and sparse updates begin with: float32, trained on upright images."""
    budget = BUDGETS[model]
    graph = load_zoo(model, input_shape=SHAPE, classes=10, seed=seed)
    steps = max(1, round(budget.base_steps * scale))
    key = hashlib.sha256(f"{model} {seed} {steps} {budget.full_rate} v1".encode()).hexdigest()[:16]
    path = cache_folder() / f"base-{key}.npz"
    compiled = compile_graph(graph, Settings(dtype="float32"), random_calibration(graph), f"bench_base_{key}")
    write(compiled)
    engine = Engine(compiled.plan.name)
    if path.is_file():
        with np.load(path) as kept:
            return merged(graph, {name: kept[name] for name in kept.files})
    values = engine.plan.decode(train(engine, data, steps, budget.full_rate, seed))
    with path.with_suffix(".new").open("wb") as stream:
        np.savez(stream, allow_pickle=False, **values)
    path.with_suffix(".new").replace(path)
    return merged(graph, values)


def kernels_digest(dtype: Dtype) -> str:
    """Of the sources that a number format's training consists of, comments and spaces left out."""
    digest = hashlib.sha256()
    folders = (FIRMWARE / "engine" / dtype, FIRMWARE / "engine")
    for path in sorted(path for folder in folders for path in folder.glob("*.[ch]pp")):
        code = re.sub(r"//.*", "", path.read_text(encoding="utf-8"))
        digest.update(re.sub(r"\s+", "", code).encode())
    return digest.hexdigest()[:12]


def execute(sides: Sequence[Run]) -> list[dict[str, Any]]:
    """Trains and evaluates the sides of one comparison; what was done before is read from the cache."""
    kept = [cache_folder() / f"{run.name}-{_key(run)}.json" for run in sides]
    missing = [run for run, path in zip(sides, kept, strict=True) if not path.is_file()]
    if missing:
        task = _task(missing[0])
        rehearsed = _rehearse(task, missing[0]) if any(run.dtype == "int8" for run in missing) else None
        for run, path in zip(sides, kept, strict=True):
            if run in missing:
                calibration = rehearsed if run.dtype == "int8" else None
                path.write_text(json.dumps(_side(run, task, calibration)), encoding="utf-8")
    return [dict(json.loads(path.read_text(encoding="utf-8"))) for path in kept]


def _key(run: Run) -> str:
    text = f"{BUDGETS[run.model]} {kernels_digest(run.dtype)} {_PROTOCOL}"
    return hashlib.sha256(text.encode()).hexdigest()[:8]


@dataclass(frozen=True)
class _Task:
    """What all sides of a comparison do."""

    graph: Graph
    data: Data
    steps: int
    rate: float


def _task(run: Run) -> _Task:
    budget, data = BUDGETS[run.model], load_data()
    if run.scheme == "full":
        graph = load_zoo(run.model, input_shape=SHAPE, classes=10, seed=run.seed)
        steps, rate = budget.full_steps, budget.full_rate
    else:
        graph = base(run.model, run.seed, run.scale, data)
        data, steps, rate = data.dimmed(), budget.adapt_steps, budget.adapt_rate
    return _Task(graph, data, max(1, round(steps * run.scale)), rate)


def _rehearse(task: _Task, run: Run) -> Calibration:
    return rehearsed_calibration(
        task.graph, run.scheme, task.data.train_x, task.data.train_y, steps=task.steps, learning_rate=task.rate,
        seed=run.seed + 1000, source="fashion-mnist",
    )  # fmt: skip


def _side(run: Run, task: _Task, calibration: Calibration | None) -> dict[str, Any]:
    settings = Settings(run.scheme, run.dtype, 1, run.rule)
    compiled = compile_graph(task.graph, settings, calibration or random_calibration(task.graph), run.name)
    write(compiled)
    engine, data = Engine(run.name), task.data
    before = None  # rounding changes little of it, so one side says it for all
    if run.dtype == "float32":
        before = engine.infer(engine.begin(engine.initial()), data.test_x, data.test_y).accuracy
    after = engine.infer(train(engine, data, task.steps, task.rate, run.seed), data.test_x, data.test_y)
    return {
        **asdict(run),
        "steps": task.steps,
        "trained": sum(layer.trained for layer in engine.plan.layers),
        "parameters": compiled.graph.parameters,
        "accuracy_before": before,
        "accuracy": after.accuracy,
        "loss": after.loss,
    }


def compare(rows: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Of each model and scheme: means of float32 and int8 over seeds, int8's gap in points, and the update rules that
    the first seed has tried."""
    table: dict[tuple[str, str], dict[str, list[float]]] = {}
    rules: dict[tuple[str, str], dict[str, float]] = {}
    for row in rows:
        cell = row["model"], row["scheme"]
        if row["dtype"] == "int8":
            rules.setdefault(cell, {}).setdefault(row["rule"], row["accuracy"])
        if row["rule"] != "compensated":
            continue
        sides = table.setdefault(cell, {})
        sides.setdefault(row["dtype"], []).append(row["accuracy"])
        if row["accuracy_before"] is not None:
            sides.setdefault("before", []).append(row["accuracy_before"])
    found = []
    for (model, scheme), sides in table.items():
        means = {side: float(np.mean(values)) for side, values in sides.items()}
        entry: dict[str, Any] = {"model": model, "scheme": scheme, "seeds": len(sides.get("float32", [])), **means}
        entry["rules"] = rules.get((model, scheme), {})
        if "float32" in means and "int8" in means:
            entry["int8_behind_points"] = 100 * (means["float32"] - means["int8"])
        found.append(entry)
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs what is not in the cache, two at a time, and writes the document."""
    parser = argparse.ArgumentParser(description="int8 beside float32 training on Fashion-MNIST, 28x28")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--models", nargs="+", default=list(BUDGETS), choices=list(BUDGETS))
    parser.add_argument("--steps-scale", type=float, default=1.0, help="of the budgets, for a quick look")
    parser.add_argument("--output", type=Path, help="default: reports/bench/training.json")
    parser.add_argument("--processes", type=int, default=2)
    options = parser.parse_args(arguments)
    wanted = cells(options.models, range(1, options.seeds + 1), options.steps_scale)
    rows = []
    with ProcessPoolExecutor(options.processes) as pool:
        for sides, found in zip(wanted, pool.map(execute, wanted), strict=True):
            rows += found
            first = sides[0]
            accuracies = ", ".join(f"{row['dtype']} {row['rule']} {row['accuracy']:.4f}" for row in found)
            print(f"{first.model} {first.scheme} seed {first.seed}: {accuracies}", flush=True)
    write_document(options.output, "training", {"rows": rows, "comparison": compare(rows)})
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
