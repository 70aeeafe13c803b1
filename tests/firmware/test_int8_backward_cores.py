"""The int8 backward pass gives the same bits on host, Cortex-M0, M3 and M4F.

The number of instructions depends on shapes alone.

Each core's image is compiled with its board's flags and executed by Unicorn; the host's kernels, which the reference
confirms (test_int8_backward.py), say what is right.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from engine_targets import BOARD_OF_CORE, Argument, CoreTarget, HostTarget
from float32_reference import Axis, Conv, Pool, Upsampling, packed
from int8_backward_cases import (
    RULES,
    SOURCES,
    Map,
    Step,
    Weights,
    conv_gradient_arguments,
    gradients,
    int8s,
    lifts,
    max_pool_winners,
)

Call = tuple[str, list[Argument]]

CONVS = [
    (Conv(Axis(14, 12, 3, 1, 0), Axis(14, 12, 3, 1, 0), 1, 12, 1), 1),  # windows that never leave x
    (Conv(Axis(7, 4, 3, 2, 1), Axis(6, 5, 2, 1, 0), 6, 8, 2), 2),  # groups, padding, strides that differ, a split
    (Conv(Axis(5, 5, 1, 1, 0), Axis(5, 5, 1, 1, 0), 7, 5, 1), 3),
    (Conv(Axis(3, 1, 3, 1, 0), Axis(4, 1, 4, 1, 0), 3, 10, 1), 3),  # fully connected
]
DEPTHWISE = [(Conv(Axis(7, 4, 3, 2, 1), Axis(6, 6, 3, 1, 1), 7, 7, 7), 4)]
POOLS = [
    Pool(Axis(7, 3, 2, 2, 0), Axis(6, 3, 2, 2, 0), 5),
    Pool(Axis(7, 4, 3, 2, 1), Axis(6, 6, 3, 1, 1), 3),
    Pool(Axis(5, 1, 5, 5, 0), Axis(5, 1, 5, 5, 0), 6),
]


@pytest.fixture(scope="module")
def host() -> HostTarget:
    return HostTarget("int8-backward", SOURCES)


@pytest.fixture(scope="module", params=BOARD_OF_CORE)
def core(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> CoreTarget:
    return CoreTarget(request.param, "int8-backward", tmp_path_factory.mktemp("image"), SOURCES)


def into(generator: np.random.Generator, shape: tuple[int, ...], gated: bool = True) -> list[Argument]:
    """A map with a random gate and a random peak."""
    gate = generator.random(shape) < generator.random() if gated else None
    return Map(shape, gate, int(2.0 ** generator.uniform(0, 31)) - 1).arguments()


def conv_calls(generator: np.random.Generator) -> list[Call]:
    calls: list[Call] = []
    for depthwise, shapes in ((False, CONVS), (True, DEPTHWISE)):
        kernel = "depthwise2d" if depthwise else "conv2d"
        for conv, trained_in in shapes:
            w = int8s(generator, *((*conv.w_shape[1:3], conv.in_c) if depthwise else conv.w_shape))
            lift = lifts(generator, conv, depthwise=depthwise)
            x, gy = int8s(generator, *conv.x_shape), gradients(generator, *conv.y_shape)
            exponent = int(generator.integers(-20, 40))
            arguments = conv_gradient_arguments(conv, gy, (exponent, 6), w, trained_in, lift)
            calls += [
                (f"{kernel}_input_gradient", [Step().sgd, *arguments, *into(generator, conv.x_shape, gated)])
                for gated in (False, True)
            ]
            for rule in RULES:
                step = Step(int(2.0 ** generator.uniform(0, 20)), int(generator.integers(2**32)))
                weights = Weights.random(generator, rule, w[..., :trained_in].shape, lift, 6)
                calls.append((f"{kernel}_update", [step.sgd, *weights.arguments(1, conv, gy, exponent, x, 5)]))
    return calls


def other_calls(generator: np.random.Generator) -> list[Call]:
    calls: list[Call] = []
    exponent = int(generator.integers(-20, 40))
    for pool in POOLS:
        gy = gradients(generator, *pool.y_shape)
        winners = max_pool_winners(generator, pool)[1]
        calls += [
            ("avg_pool_gradient", [Step().sgd, pool.fields, gy, exponent, *into(generator, pool.x_shape)]),
            ("max_pool_gradient", [Step().sgd, pool.fields, gy, exponent, winners, *into(generator, pool.x_shape)]),
        ]
    shape = Upsampling(3, 4, 5, 6, 7, 2)
    gy = gradients(generator, *shape.y_shape)
    calls.append(("upsample_gradient", [Step().sgd, shape.fields, gy, exponent, *into(generator, shape.x_shape)]))
    n = 37
    a, b = gradients(generator, n), gradients(generator, n)
    other = exponent + int(generator.integers(-20, 20))
    calls.append(("add_gradients", [Step().sgd, n, a, exponent, b, other, *into(generator, (n,))]))
    calls.append(("gate_gradient", [n, a, packed(generator.random(n) < 0.5, 1), b]))

    step = Step(int(2.0 ** generator.uniform(0, 20)), int(generator.integers(2**32)))
    bias, steps = (generator.integers(-(2**29), 2**29, n, np.int32) for _ in range(2))
    lift = generator.integers(0, 8, n, np.int8)
    calls.append(("update_bias", [step.sgd, 1, gradients(generator, 5, n), exponent, 5, n, bias.copy(), lift, 13]))
    calls.append(("fold_bias", [n, bias, steps]))
    pending = generator.integers(-(2**15), 2**15, n, np.int16)
    calls.append(("fold_weights", [Step().sgd, n, int8s(generator, n), pending]))
    return calls


def all_calls(seed: int) -> list[Call]:
    generator = np.random.default_rng(seed)
    return conv_calls(generator) + other_calls(generator)


def copied(arguments: list[Argument]) -> list[Argument]:
    return [argument.copy() if isinstance(argument, np.ndarray) else argument for argument in arguments]


def filled(arguments: list[Argument], value: int) -> list[Argument]:
    """With one value in all maps and weights; lifts, which are constants of a program, stay in their range."""
    return [
        np.full_like(argument, value)
        if isinstance(argument, np.ndarray)
        and argument.dtype == np.int8
        and not 0 <= argument.min() <= argument.max() <= 7
        else argument
        for argument in copied(arguments)
    ]


def test_every_kernel_gives_the_host_s_bits(host: HostTarget, core: CoreTarget) -> None:
    """All that is written counts: maps, weights, residuals, peaks and the number of clipped values."""
    for name, arguments in all_calls(7) + all_calls(8):
        there, here = copied(arguments), copied(arguments)
        assert core.call(name, *there) == host.call(name, *here), name
        for ours, theirs in zip(here, there, strict=True):
            np.testing.assert_array_equal(ours, theirs, err_msg=name)


def test_no_kernel_s_instruction_count_depends_on_data(core: CoreTarget) -> None:
    """Other values, exponents, peaks, gates, winners and rates; zeros; extremes that saturate: one count."""
    for variants in zip(all_calls(1), all_calls(2), all_calls(3), strict=True):
        counts = set()
        name, first = variants[0]
        for case in (*(arguments for _, arguments in variants), filled(first, 0), filled(first, -127)):
            core.call(name, *copied(case))
            counts.add(core.instructions)
        assert len(counts) == 1, f"{name}: {sorted(counts)}"


def test_an_update_takes_few_instructions(core: CoreTarget, tmp_path: Path) -> None:
    """The inner loops: products of 3x3 windows over 16 channels, forward exactness aside; a loose upper bound."""
    conv = Conv(Axis(8, 8, 3, 1, 1), Axis(8, 8, 3, 1, 1), 16, 16, 1)
    generator = np.random.default_rng(1)
    gy, w = gradients(generator, *conv.y_shape), int8s(generator, *conv.w_shape)
    lift, products = lifts(generator, conv), 22 * 22 * 16 * 16  # 22 of 24 taps lie inside in each axis
    arguments = conv_gradient_arguments(conv, gy, (8, 6), w, 16, lift)
    core.call("conv2d_input_gradient", Step().sgd, *arguments, *into(generator, conv.x_shape))
    backward = core.instructions / products
    weights = Weights.random(generator, "compensated", w.shape, lift, 6)
    core.call("conv2d_update", Step(99).sgd, *weights.arguments(1, conv, gy, 8, int8s(generator, *conv.x_shape), 5))
    print(core.core, backward, core.instructions / products)
