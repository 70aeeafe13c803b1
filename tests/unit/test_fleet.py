"""Federations of simulated clients on the host-compiled engine."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bench.compiler.compile import Settings, compile_graph, random_calibration, write
from bench.federation.settings import parse_federation
from bench.federation.update_codec import CodecSettings, UpdateCodec
from bench.fleet.device import Device
from bench.fleet.engine import Engine
from bench.fleet.population import Pool, Population, Stragglers
from bench.fleet.simulate import Trace, simulate
from bench.fleet.trainer import Trainer
from bench.model.plan import FIRMWARE
from bench.model.zoo import load_zoo

FTTE = {"strategy": "ftte", "concurrency": 8, "buffer": 4, "server_rate": 0.5, "rounds": 12}
FEDAVG = {"strategy": "fedavg", "clients_per_round": 8, "rounds": 5}
BOARD = Device("board", 500_000, 1e-8, 11_520.0, 1024)


def pool(count: int) -> Pool:
    """Ten classes that a small network can tell apart."""
    generator = np.random.default_rng(5)
    prototypes = generator.integers(-50, 90, (10, 14, 14, 1))
    y = generator.integers(0, 10, count).astype(np.uint8)
    noise = generator.normal(0, 25, (count, 14, 14, 1))
    return Pool(np.clip(prototypes[y] + noise, -128, 127).astype(np.int8), y)


@pytest.fixture(scope="module")
def engines() -> dict[str, Engine]:
    graph, found = load_zoo("demo-cnn"), {}
    for name, scheme, dtype in (
        ("sparse", "list:conv1.bias,fc2.weight[:3],fc2.bias", "int8"),
        ("full", "full", "float32"),
    ):
        compiled = compile_graph(graph, Settings(scheme, dtype), random_calibration(graph), f"test_fleet_{name}")  # type: ignore[arg-type]
        write(compiled, Path(FIRMWARE))
        found[name] = Engine(compiled.plan.name)
    return found


def run(
    engine: Engine, federation: dict[str, object], codec: CodecSettings | None = None, threads: int = 2, seed: int = 1
) -> Trace:
    clients = Population(pool(1500), 30, 40, 0.5, seed, Stragglers(0.5, 10.0), shifted=False)
    coder = None if codec is None else UpdateCodec(engine.plan, codec)
    trainer = Trainer(engine, BOARD, clients, 40, 0.03, seed, coder)
    return simulate(parse_federation(federation), trainer, pool(300), seed, every=4, threads=threads)


def test_a_federation_learns_and_every_byte_and_second_is_counted(engines: dict[str, Engine]) -> None:
    trace = run(engines["full"], FEDAVG)
    first, last = trace.points[0], trace.points[-1]
    assert (first.at, first.updates, first.down) == (0.0, 0, 0)
    assert last.accuracy > first.accuracy + 0.3
    assert (last.version, last.updates) == (5, 40)
    dense = engines["full"].plan.down_bytes
    assert 40 * dense < last.down < 40 * dense * 1.05 + 40 * 200
    assert 40 * dense < last.up < 40 * dense * 1.05 + 40 * 200
    slow = 10 * (40 * 500_000 * 1e-8 + 2 * dense / 11_520)
    assert 5 * slow < last.at < 5 * slow * 1.1, "each round waits for one that is slow"


def test_coded_updates_learn_too_for_a_fraction_of_the_bytes(engines: dict[str, Engine]) -> None:
    dense = run(engines["sparse"], FTTE)
    coded = run(engines["sparse"], FTTE, CodecSettings(bits=4))
    assert coded.points[-1].accuracy > coded.points[0].accuracy + 0.3
    assert coded.points[-1].up < 0.5 * dense.points[-1].up
    assert coded.points[-1].down < dense.points[-1].down
    assert coded.points[-1].updates == dense.points[-1].updates


def test_an_answer_that_is_cancelled_on_its_way_was_not_sent_up(engines: dict[str, Engine]) -> None:
    """The slow half has trained before the deadline (2 of 10 s), and sends its model for another 30 s."""
    trace = run(engines["full"], FEDAVG | {"deadline_s": 10.0})
    last = trace.points[-1]
    assert trace.cancelled > 0
    assert trace.uploads.count == last.updates + trace.refused
    assert trace.downloads.count == trace.uploads.count + trace.cancelled
    assert trace.uploads.mean == trace.downloads.mean == engines["full"].plan.up_bytes
    assert trace.uploads.size < last.up < 1.1 * trace.uploads.size
    assert trace.downloads.size < last.down < 1.1 * trace.downloads.size


@pytest.mark.parametrize("federation", [FTTE, FEDAVG | {"over_selection": 0.5, "deadline_s": 20.0}])
def test_a_result_depends_on_the_seed_and_not_on_the_threads(
    engines: dict[str, Engine], federation: dict[str, object]
) -> None:
    codec = CodecSettings(bits=2)
    one, four, other = (
        run(engines["sparse"], federation, codec, threads, seed) for threads, seed in ((1, 1), (4, 1), (1, 2))
    )
    assert one.points == four.points
    assert one.weights is not None
    assert four.weights is not None
    np.testing.assert_array_equal(one.weights, four.weights)
    assert (one.refused, one.cancelled) == (four.refused, four.cancelled)
    assert one.points != other.points
