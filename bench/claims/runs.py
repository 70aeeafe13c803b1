"""Runs of arms on the simulated fleet, each kept in the cache, so that what was stopped goes on with the next."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path

import numpy as np

import bench
from bench.claims.protocol import Arm
from bench.claims.scene import Program, Scene
from bench.fleet.population import Pool
from bench.fleet.simulate import Point, Trace, simulate
from bench.fleet.trainer import Trainer
from bench.project import cache_folder
from bench.results.files import write_atomically

_SOURCES = (
    "claims/runs.py", "claims/scene.py", "data/shift.py", "federation/bit_fields.py", "federation/clock.py",
    "federation/core.py", "federation/download_codec.py", "federation/events.py", "federation/participation.py",
    "federation/pool.py", "federation/settings.py", "federation/strategies", "federation/update_blocks.py",
    "federation/update_codec.py", "fleet", "fleet/engine_api.cpp", "link/messages.py", "link/size.py", "model/flat.py",
    "model/plan.py", "model/wire.py", "selection/tasks.py",
)  # fmt: skip
"""What decides a run beside its configuration and the compiled program. Kernels do not: they are bit-exact."""
_VISITED = 40
"""Clients whose own accuracy is measured."""


@dataclass(frozen=True)
class Run:
    """What came of an arm at a seed.

    `points`: the shared model over virtual time. `payload`: mean bytes of a client's turn both ways, without framing.
    `local_before`, `local_after`, `local_adapted`: mean accuracy on clients' own test samples of the first model, the
    last, and the last after a pass over the client's own samples. `kept_before`, `kept_after`: accuracy on the samples
    of the pretraining.
    """

    arm: str
    seed: int
    scheme: str
    program: str
    trained: int
    points: list[Point]
    updates: int
    refused: int
    cancelled: int
    payload_up: int
    payload_down: int
    local_before: float
    local_after: float
    local_adapted: float
    kept_before: float
    kept_after: float

    def first(self, accuracy: float) -> Point | None:
        """The first point that reaches an accuracy and is followed by one that does: a single one may be luck."""
        pairs = zip(self.points, self.points[1:], strict=False)
        return next((p for p, after in pairs if min(p.accuracy, after.accuracy) >= accuracy), None)

    @property
    def final(self) -> float:
        """Mean accuracy of the last fifth of the points, for single ones scatter."""
        return float(np.mean([point.accuracy for point in self.points[-max(1, len(self.points) // 5) :]]))

    def until(self, at: float) -> float:
        """Accuracy when that much virtual time has passed."""
        return max((p for p in self.points if p.at <= at), key=lambda p: p.at).accuracy


def run_arm(
    scene: Scene, name: str, arm: Arm, seed: int, progress: Callable[[Point], None] = lambda _point: None
) -> Run:
    """An arm at a seed, from the cache if it was run before.

    Raises:
        ConfigError: an arm that does not compile, or whose settings contradict each other.
        InfrastructureError: the federation stands still.
    """
    program = scene.program(arm)
    path = _path(scene, arm, seed, program)
    if path.is_file():
        stored = json.loads(path.read_text(encoding="utf-8"))
        return Run(**stored | {"arm": name, "points": [Point(**point) for point in stored["points"]]})
    population = scene.population(seed)
    trainer = scene.trainer(arm, population, seed)
    initial = trainer.initial()
    settings = arm.settings(scene.protocol.at_once, turn_seconds(trainer))
    synchronous = arm.federation["strategy"] in ("fedavg", "fedprox")
    judge = scene.judge(population, seed)
    trace = simulate(settings, trainer, judge, seed, every=1 if synchronous else 10, progress=progress)
    assert trace.weights is not None
    found = _run(scene, name, seed, trainer, trace, initial)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, json.dumps(asdict(found)).encode())
    return found


def turn_seconds(trainer: Trainer) -> float:
    """Virtual seconds of a first turn of a client that is not slow, its models whole."""
    plan = trainer.engine.plan
    whole = plan.down_bytes + plan.up_bytes
    return trainer.device.compute_s(trainer.steps) + whole / trainer.device.line_bytes_s


def _run(scene: Scene, name: str, seed: int, trainer: Trainer, trace: Trace, initial: np.ndarray) -> Run:
    assert trace.weights is not None
    plan, last = trainer.engine.plan, trace.points[-1]
    local = [_local(scene, trainer, client, seed, initial, trace.weights) for client in _visited(scene, seed)]
    before, after, adapted = (float(np.mean(column)) for column in zip(*local, strict=True))
    return Run(
        arm=name, seed=seed, scheme=plan.scheme, program=plan.name, trained=sum(t.size for t in plan.trained),
        points=trace.points, updates=last.updates, refused=trace.refused, cancelled=trace.cancelled,
        payload_up=round(trace.uploads.mean), payload_down=round(trace.downloads.mean),
        local_before=before, local_after=after, local_adapted=adapted,
        kept_before=_accuracy(trainer, initial, scene.public),
        kept_after=_accuracy(trainer, trace.weights, scene.public),
    )  # fmt: skip


def _visited(scene: Scene, seed: int) -> Sequence[int]:
    order = np.random.default_rng([seed, 12]).permutation(scene.protocol.clients)
    return [int(client) for client in order[:_VISITED]]


def _local(
    scene: Scene, trainer: Trainer, client: int, seed: int, first: np.ndarray, last: np.ndarray
) -> tuple[float, float, float]:
    test = scene.local_test(trainer.population, client, seed)
    shard = trainer.population.shard(client)
    engine = trainer.engine
    down = engine.plan.encode_down(trainer.unflat(last))
    adapted, _ = engine.train(
        engine.begin(down), shard.x, shard.y, learning_rate=trainer.learning_rate, seed=seed, count=trainer.steps
    )
    own = engine.infer(adapted, test.x, test.y).accuracy
    return _accuracy(trainer, first, test), _accuracy(trainer, last, test), own


def _accuracy(trainer: Trainer, model: np.ndarray, pool: Pool) -> float:
    engine = trainer.engine
    params = engine.begin(engine.plan.encode_down(trainer.unflat(model)))
    return engine.infer(params, pool.x, pool.y).accuracy


def _path(scene: Scene, arm: Arm, seed: int, program: Program) -> Path:
    shared = scene.protocol.model_dump(mode="json", exclude={"seeds", "target", "folder"})
    ran = [program.engine.plan.plan_id.hex(), asdict(program.device)]
    key = json.dumps([shared, arm.model_dump(mode="json"), seed, ran, _sources()], sort_keys=True)
    return cache_folder("claims") / f"{hashlib.sha256(key.encode()).hexdigest()[:24]}.json"


@cache
def _sources() -> str:
    root = Path(bench.__file__).parent
    files = [file for path in (root / name for name in _SOURCES) for file in sorted(path.rglob("*.py")) or [path]]
    return hashlib.sha256(b"\0".join(file.read_bytes() for file in files)).hexdigest()
