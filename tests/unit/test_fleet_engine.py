"""Many clients on the host-compiled engine: the same results as one by one, whatever the number of threads."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from bench.compiler.compile import Settings, compile_graph, random_calibration, write
from bench.errors import ConfigError
from bench.fleet.engine import Engine, LocalTraining
from bench.model.zoo.builder import Builder

CLIENTS = 7
SAMPLES = 6


@pytest.fixture(scope="module", params=[("int8", 1), ("int8", 3), ("float32", 1), ("float32", 3)])
def engine(request) -> Engine:
    dtype, batch = request.param
    net = Builder("fleet_engine", (4, 4, 1), 3)
    net.dense(5)
    net.dense(3, activation="linear")
    graph = net.graph()
    compiled = compile_graph(
        graph, Settings(dtype=dtype, batch=batch), random_calibration(graph), f"fleet_engine_{dtype}_{batch}"
    )
    write(compiled)
    return Engine(compiled.plan.name)


def trainings(engine: Engine) -> list[LocalTraining]:
    """All begin with what is sent down; clients differ in data, in seed and in how long they train."""
    generator, down = np.random.default_rng(5), engine.initial()
    return [
        LocalTraining(
            down,
            generator.integers(-100, 100, (SAMPLES, 16)).astype(np.int8),
            generator.integers(0, 3, SAMPLES).astype(np.uint8),
            seed=100 * client,
            first=client,
            count=3 * client,
        )
        for client in range(CLIENTS)
    ]


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_many_clients_are_as_one_by_one(engine: Engine, threads: int) -> None:
    work = trainings(engine)
    alone = [
        engine.train(engine.begin(one.params), one.samples, one.labels, learning_rate=0.1, seed=one.seed,
                     order=[(one.first + i) % SAMPLES for i in range(one.count or 0)])
        for one in work
    ]  # fmt: skip
    assert engine.train_many(work, learning_rate=0.1, threads=threads) == alone
    assert len({params for params, _ in alone}) == CLIENTS, "every client has learnt something else"
    assert [result.samples for _, result in alone] == [3 * client for client in range(CLIENTS)]


def test_what_is_given_stays_as_it_is(engine: Engine) -> None:
    start = engine.begin(engine.initial())
    kept = bytes(bytearray(start))
    engine.train_many([replace(one, params=start) for one in trainings(engine)], learning_rate=0.1)
    assert start == kept


def test_nobody_is_no_work(engine: Engine) -> None:
    assert engine.train_many([], learning_rate=0.1, threads=2) == []


@pytest.mark.parametrize(
    "wrong",
    [{"params": b"123"}, {"labels": np.full(SAMPLES, 3, np.uint8)}, {"samples": np.zeros((SAMPLES, 15), np.int8)},
     {"order": [0, SAMPLES]}, {"order": [-1]}, {"count": -1},
     {"samples": np.zeros((0, 16), np.int8), "labels": np.zeros(0, np.uint8)}],
)  # fmt: skip
def test_what_cannot_be_is_refused(engine: Engine, wrong) -> None:
    work = trainings(engine)
    work[4] = replace(work[4], **wrong)
    with pytest.raises(ConfigError):
        engine.train_many(work, learning_rate=0.1)


def test_the_proximal_term_pulls_back_after_each_step(engine: Engine) -> None:
    work, mu, rate = trainings(engine)[3], 2.0, 0.125
    if engine.plan.dtype == "int8":
        with pytest.raises(ConfigError, match="float32"):
            engine.train_many([work], learning_rate=rate, proximal_mu=mu)
        return
    if engine.plan.batch > 1:
        return  # the pull comes after each sample there, and the fleet's programs have batch 1
    base = np.frombuffer(engine.begin(work.params), np.float32)
    weights = base
    for i in range(work.count or 0):  # FedProx, equation 2, by hand: a gradient step, then the term's
        params, _ = engine.train(weights.tobytes(), work.samples, work.labels, learning_rate=rate, seed=work.seed + i,
                                 first=work.first + i, count=1)  # fmt: skip
        weights = np.frombuffer(params, np.float32)
        weights = (weights - np.float32(rate * mu) * (weights - base)).astype(np.float32)
    pulled, _ = engine.train_many([work], learning_rate=rate, proximal_mu=mu)[0]
    np.testing.assert_array_equal(np.frombuffer(pulled, np.float32), weights)
    free, _ = engine.train_many([work], learning_rate=rate)[0]
    distances = [np.linalg.norm(np.frombuffer(found, np.float32) - base) for found in (pulled, free)]
    assert 0 < distances[0] < 0.8 * distances[1]


def test_clipped_values_are_counted_beyond_sixteen_bits() -> None:
    net = Builder("fleet_clips", (16, 16, 2), 3)
    net.dense(1024)
    net.dense(3, activation="linear")
    graph = net.graph()
    write(compile_graph(graph, Settings(), random_calibration(graph), "fleet_clips"))
    engine = Engine("fleet_clips")
    before = engine.begin(engine.initial())
    samples = np.random.default_rng(0).choice([-100, 100], (1, 512)).astype(np.int8)
    after, result = engine.train(before, samples, np.zeros(1, np.uint8), learning_rate=30000.0, seed=1)
    weights = slice(0, engine.plan.down_bytes)
    was, is_ = (np.frombuffer(params, np.int8)[weights].astype(int) for params in (before, after))
    clipped = int(((abs(is_) == 127) & (abs(was) < 127)).sum())
    assert 65_535 < clipped <= result.saturated
