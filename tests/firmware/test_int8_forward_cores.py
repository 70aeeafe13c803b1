"""The int8 forward pass gives the same bits on host, Cortex-M0, M3 and M4F, whatever the values.

The number of instructions depends on shapes alone. Each core's image is compiled with its board's flags and executed by
Unicorn; the host's kernels, which the reference confirms (test_int8_forward.py), say what is right.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from engine_targets import BOARD_OF_CORE, Argument, CoreTarget, HostTarget
from float32_reference import Axis, Pool, Upsampling
from int8_backward_cases import int8s
from int8_forward_cases import (
    LINEAR,
    RANGES,
    RELU,
    SOURCES,
    Call,
    conv_call,
    depthwise_call,
    guarded,
    logits_call,
    max_pool_call,
    upsample_call,
)
from test_int8_backward_cores import CONVS, DEPTHWISE, POOLS

LOSSES = ("softmax_cross_entropy", "mean_squared_error", "mean_squared_error_label")


@pytest.fixture(scope="module")
def host() -> HostTarget:
    return HostTarget("int8-forward", SOURCES)


@pytest.fixture(scope="module", params=BOARD_OF_CORE)
def core(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> CoreTarget:
    return CoreTarget(request.param, "int8-forward", tmp_path_factory.mktemp("image"), SOURCES)


def calls(generator: np.random.Generator) -> Iterator[Call]:
    for conv, trained_in in CONVS:
        yield conv_call(generator, conv, trained_in, RANGES[trained_in % 3])
        yield logits_call(generator, conv, trained_in)
    for conv, trained_in in DEPTHWISE:
        yield depthwise_call(generator, conv, trained_in, RELU)
    for pool in POOLS:
        yield max_pool_call(generator, pool)
        yield "avg_pool", [pool.fields, int8s(generator, *pool.x_shape), 3, guarded(int(np.prod(pool.y_shape)))]
    yield "max_pool", [*max_pool_call(generator, Pool(Axis(6, 3, 2, 2, 0), Axis(6, 3, 2, 2, 0), 5))[1][:3], None]
    yield upsample_call(generator, Upsampling(3, 4, 5, 5, 8, 2))
    scale = np.array([2, 0, 3], np.int8)
    yield "add", [33, int8s(generator, 33), int8s(generator, 33), scale, LINEAR, guarded(33)]
    yield "pack_gate", [45, int8s(generator, 45), RELU, guarded(6, np.uint8)]
    yield "slice_channels", [12, 7, 3, int8s(generator, 12, 7), guarded(36)]
    yield "widen", [19, int8s(generator, 19), guarded(19, np.int32)]
    logits = (generator.normal(0, 3, 10) * 2**16).astype(np.int32)
    yield "softmax_cross_entropy", [10, logits, 16, 4, guarded(10, np.uint32), guarded(10), np.zeros(3, np.int32)]
    yield "mean_squared_error", [10, logits, 16, int8s(generator, 10), 5, guarded(10), np.zeros(3, np.int32)]
    yield "mean_squared_error_label", [10, logits, 16, 4, guarded(10), np.zeros(3, np.int32)]


def copied(arguments: list[Argument]) -> list[Argument]:
    return [argument.copy() if isinstance(argument, np.ndarray) else argument for argument in arguments]


def test_the_same_bits(host: HostTarget, core: CoreTarget) -> None:
    for seed in range(4):
        for name, arguments in calls(np.random.default_rng(seed)):
            mine, theirs = copied(arguments), copied(arguments)
            assert host.call(name, *mine) == core.call(name, *theirs), name
            for one, other in zip(mine, theirs, strict=True):
                if isinstance(one, np.ndarray):
                    np.testing.assert_array_equal(one, other, err_msg=name)


def test_instructions_depend_on_shapes_alone(core: CoreTarget) -> None:
    counts: dict[int, list[int]] = {}
    for seed in range(3):
        for index, (name, arguments) in enumerate(calls(np.random.default_rng(seed))):
            if name not in LOSSES:  # a loss's exponent decides its shifts' lengths in no loop, but its argmax branches
                core.call(name, *arguments)
                counts.setdefault(index, []).append(core.instructions)
    assert all(max(found) == min(found) for found in counts.values())
