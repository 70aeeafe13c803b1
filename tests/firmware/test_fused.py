"""A program with fused chains computes, bit for bit, what it computes without: on the host, in both number formats."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from bench.compiler import compile as compiler
from bench.compiler import fuse as fusion
from bench.compiler.arrange import Arranged, arrange
from bench.compiler.compile import Settings, compile_graph, random_calibration, write
from bench.compiler.differentiate import Dtype, Schedule
from bench.fleet.engine import Engine, TrainResult
from bench.model.graph import Graph
from bench.model.zoo import load_zoo
from bench.model.zoo.builder import Builder

STEPS = 3


def inverted_residuals() -> Graph:
    """Odd sizes, strides, a residual sum, kernels larger than what is left of the map."""
    net = Builder("fused_residuals", (13, 11, 3), 5)
    net.conv(7, 3, stride=2)
    net.conv(20, 1, activation="relu6")
    net.depthwise(3, stride=1)
    first = net.conv(6, 1, activation="linear")
    net.conv(18, 1)
    net.depthwise(5)
    net.add(first, net.conv(6, 1, activation="linear"))
    net.conv(9, 1)
    net.depthwise(7, stride=2)
    net.conv(5, 1)
    net.dense(3, activation="linear")
    return net.graph()


def pools() -> Graph:
    net = Builder("fused_pools", (16, 16, 2), 6)
    net.conv(4, 3)
    net.max_pool(2)
    net.conv(8, 3)
    net.max_pool(3, stride=2)
    net.conv(4, 2, pad="valid")
    net.dense(3, activation="linear")
    return net.graph()


def result(graph: Graph, scheme: str, dtype: Dtype, name: str) -> tuple[bytes, TrainResult, list[int]]:
    compiled = compile_graph(graph, Settings(scheme=scheme, dtype=dtype), random_calibration(graph), name)
    write(compiled)
    engine = Engine(name)
    generator = np.random.default_rng(1)
    samples = generator.integers(-110, 110, (STEPS, *graph.input_shape)).astype(np.int8)
    labels = generator.integers(0, 2, STEPS).astype(np.uint8)
    params = engine.begin(engine.initial())
    predictions = engine.infer(params, samples, labels).predictions.tolist()
    return *engine.train(params, samples, labels, learning_rate=0.01, seed=3), predictions


def all_chains(schedule: Schedule) -> Schedule:
    """The longest chain from each call on, whether memory asks for it or not."""
    chosen: list[fusion.Chain] = []
    for chain, _ in sorted(fusion._candidates(schedule), key=lambda found: -len(found[0])):
        if not any(set(chain) & set(other) for other in chosen):
            chosen.append(chain)
    assert chosen, "nothing to fuse"
    return fusion._with(schedule, chosen)


def apart(schedule: Schedule) -> Arranged:
    return arrange(schedule)


def together(schedule: Schedule) -> Arranged:
    fused = arrange(all_chains(schedule))
    assert any(call.stages for call in fused.calls)
    return fused


@pytest.mark.parametrize("dtype", ["int8", "float32"])
@pytest.mark.parametrize(
    ("make", "scheme"),
    [
        (inverted_residuals, "last-1"),
        (inverted_residuals, "last-3"),
        (pools, "last-1"),
        (pools, "full"),
        (pools, "bias"),
        (lambda: load_zoo("lenet-5"), "last-1"),
        (lambda: load_zoo("resnet-8"), "last-2"),
    ],
    ids=["residuals-last-1", "residuals-last-3", "pools-last-1", "pools-full", "pools-bias", "lenet-5", "resnet-8"],
)
def test_fused_and_apart_give_the_same_bits(
    make: Callable[[], Graph],
    scheme: str,
    dtype: Dtype,
    monkeypatch: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> None:
    found = []
    for way in (apart, together):
        monkeypatch.setattr(compiler, "arrange_smallest", way)
        found.append(
            result(make(), scheme, dtype, f"fused_test_{request.node.callspec.id}_{way.__name__}".replace("-", "_"))
        )
    assert found[0] == found[1]
