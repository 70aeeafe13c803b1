"""The int8 forward pass gives the same bits on host, Cortex-M0, M3 and M4F, in place too.

The number of instructions depends on shapes alone. Each core's image is compiled with its board's flags and executed by
Unicorn; the host's kernels, which the reference confirms (test_int8_forward.py), say what is right.
"""

from __future__ import annotations

import numpy as np
import pytest
from engine_targets import BOARD_OF_CORE, Argument, CoreTarget, HostTarget
from float32_reference import Array, Axis, Pool, Upsampling
from int8_backward_cases import int8s
from int8_forward_cases import (
    LINEAR,
    RANGES,
    RELU,
    SOURCES,
    Call,
    conv_call,
    depthwise_call,
    depthwise_shape,
    guarded,
    logits_call,
    max_pool_call,
    one_dimensional,
    upsample_call,
)
from numpy.typing import NDArray
from test_int8_backward_cores import CONVS, DEPTHWISE, POOLS

UNPADDED = Pool(Axis(7, 3, 3, 2, 0), Axis(6, 3, 2, 2, 0), 5)


@pytest.fixture(scope="module")
def host() -> HostTarget:
    return HostTarget("int8-forward", SOURCES)


@pytest.fixture(scope="module", params=BOARD_OF_CORE)
def core(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> CoreTarget:
    return CoreTarget(request.param, "int8-forward", tmp_path_factory.mktemp("image"), SOURCES)


def conv_calls(generator: np.random.Generator) -> list[Call]:
    calls: list[Call] = []
    for conv, trained_in in [*CONVS, (one_dimensional(CONVS[1][0]), 1)]:
        w = int8s(generator, *conv.w_shape)
        calls += [conv_call(generator, conv, w, trained_in, RANGES[trained_in % 3]),
                  logits_call(generator, conv, w, trained_in)]  # fmt: skip
    for conv, trained_in in DEPTHWISE:
        calls.append(depthwise_call(generator, conv, int8s(generator, *depthwise_shape(conv)), trained_in, RELU))
    return calls


def other_calls(generator: np.random.Generator) -> list[Call]:
    calls: list[Call] = [upsample_call(generator, Upsampling(3, 4, 5, 5, 8, 2))]
    for pool in POOLS:
        average: list[Argument] = [pool.fields, int8s(generator, *pool.x_shape), 3, guarded(int(np.prod(pool.y_shape)))]
        calls += [max_pool_call(generator, pool), ("avg_pool", average)]
    _, (fields, x, y, _) = max_pool_call(generator, UNPADDED)
    calls.append(("max_pool", [fields, x, y, None]))
    scale = generator.integers(0, 16, 3, np.int8)
    calls.append(("add", [33, int8s(generator, 33), int8s(generator, 33), scale, LINEAR, guarded(33)]))
    calls.append(("pack_gate", [45, int8s(generator, 45), RELU, guarded(6, np.uint8)]))
    calls.append(("slice_channels", [12, 7, 3, int8s(generator, 12, 7), guarded(36)]))
    calls.append(("widen", [19, int8s(generator, 19), guarded(19, np.int32)]))
    return calls


def logits(generator: np.random.Generator) -> NDArray[np.int32]:
    """Moderate ones, all equal ones, or the extremes."""
    kind = int(generator.integers(3))
    if kind == 0:
        return (generator.normal(0, 3, 10) * 2**16).astype(np.int32)
    if kind == 1:
        return np.full(10, generator.integers(-(2**30) + 1, 2**30), np.int32)
    return generator.choice([-(2**30) + 1, 0, 2**30 - 1], 10).astype(np.int32)


def loss_calls(generator: np.random.Generator) -> list[Call]:
    """An exponent is of a program, not of its data."""
    calls: list[Call] = []
    for exponent in (0, 16, 30):
        y, label, target = logits(generator), int(generator.integers(10)), int8s(generator, 10)
        result = np.zeros(3, np.int32)
        calls += [
            ("softmax_cross_entropy", [10, y, exponent, label, guarded(10, np.uint32), guarded(10), result]),
            ("softmax_cross_entropy", [10, y, exponent, label, guarded(10, np.uint32), None, result]),
            ("mean_squared_error", [10, y, exponent, target, 5, guarded(10), result]),
            ("mean_squared_error_label", [10, y, exponent, label, guarded(10), result]),
        ]
    return calls


def in_place_calls(generator: np.random.Generator) -> list[Call]:
    _, (fields, x, _, winners) = max_pool_call(generator, UNPADDED)
    a, b, sliced, y = int8s(generator, 33), int8s(generator, 33), int8s(generator, 12, 7), logits(generator)
    scale = generator.integers(0, 16, 3, np.int8)
    return [
        ("max_pool", [fields, x, x, winners]),
        ("add", [33, a, b, scale, LINEAR, a]),
        ("add", [33, a, b, scale, RELU, b]),
        ("slice_channels", [12, 7, 3, sliced, sliced]),
        ("softmax_cross_entropy", [10, y, 16, 3, y, guarded(10), np.zeros(3, np.int32)]),
    ]


def all_calls(seed: int) -> list[Call]:
    generator = np.random.default_rng(seed)
    return [call for some in (conv_calls, other_calls, loss_calls, in_place_calls) for call in some(generator)]


def copied(arguments: list[Argument]) -> list[Argument]:
    """What is one array stays one."""
    copies: dict[int, Array] = {id(a): a.copy() for a in arguments if isinstance(a, np.ndarray)}
    return [copies[id(a)] if isinstance(a, np.ndarray) else a for a in arguments]


def test_the_same_bits(host: HostTarget, core: CoreTarget) -> None:
    """All that is written counts: maps, winners, scratch, gradients, and what lies behind them."""
    for seed in range(4):
        for name, arguments in all_calls(seed):
            here, there = copied(arguments), copied(arguments)
            assert host.call(name, *here) == core.call(name, *there), name
            for ours, theirs in zip(here, there, strict=True):
                np.testing.assert_array_equal(ours, theirs, err_msg=name)


def test_instructions_depend_on_shapes_alone(core: CoreTarget) -> None:
    """Other values, biases, shifts and labels, the extremes included: one count."""
    for variants in zip(*(all_calls(seed) for seed in range(6)), strict=True):
        counts = set()
        for name, arguments in variants:
            core.call(name, *copied(arguments))
            counts.add(core.instructions)
        assert len(counts) == 1, f"{variants[0][0]}: {sorted(counts)}"
