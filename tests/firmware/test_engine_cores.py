"""The same bits on host, Cortex-M0, M3 and M4F, and instruction counts that do not depend on data.

Each core's image is compiled with its board's flags and executed by Unicorn; the host's kernels, which the reference
confirms, say what is right.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import reference as ref
from engine_targets import Argument, CoreTarget, HostTarget
from numpy.typing import NDArray

from bench.data import fashion_mnist
from bench.fleet.engine import Engine, learning_rate_q16

STEP_LIMITS = {"cortex-m0": 700_000, "cortex-m3": 400_000, "cortex-m4f": 400_000}
"""Instructions that one training step of the demo may take."""
RATE, SEED = 0.05, 1234


@pytest.fixture(scope="module")
def host() -> HostTarget:
    return HostTarget("demo_int8")


@pytest.fixture(scope="module", params=STEP_LIMITS)
def core(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> CoreTarget:
    return CoreTarget(request.param, "demo_int8", tmp_path_factory.mktemp("image"))


@pytest.fixture(scope="module")
def data() -> fashion_mnist.Dataset:
    return fashion_mnist.load()


def int8s(generator: np.random.Generator, *shape: int) -> NDArray[np.int8]:
    return generator.integers(-128, 128, shape, np.int8)


def conv_shapes() -> list[ref.Conv]:
    return [
        ref.Conv(14, 14, 1, 12, 3, 3, 1, 0),
        ref.Conv(7, 6, 3, 7, 3, 2, 2, 1),
        ref.Conv(5, 5, 4, 5, 1, 1, 1, 0),
        ref.Conv(9, 9, 2, 3, 4, 4, 3, 2),
    ]


def conv_calls(generator: np.random.Generator) -> list[tuple[str, list[Argument]]]:
    calls: list[tuple[str, list[Argument]]] = []
    for conv in conv_shapes():
        shape = np.array(conv.fields, np.int32)
        x, gy = int8s(generator, conv.in_h, conv.in_w, conv.in_c), int8s(generator, conv.out_h, conv.out_w, conv.out_c)
        w = int8s(generator, conv.kernel_h, conv.kernel_w, conv.in_c, conv.out_c)
        bias = generator.integers(-(2**20), 2**20, conv.out_c, np.int32)
        scales = np.array([8, 6, 5], np.int32)
        sgd = np.array([3000, 99, 0, 1], np.uint32)
        calls += [
            ("int8_conv2d", [shape, x, w, bias, 7, 1, np.zeros(w[..., 0].size, np.int8), np.zeros_like(gy)]),
            ("int8_conv2d_input_gradient", [shape, gy, scales, w, x, np.zeros_like(x)]),
            ("int8_conv2d_update", [shape, sgd, gy, x, scales, w.copy(), int8s(generator, *w.shape)]),
            ("int8_update_bias", [sgd.copy(), gy, np.array([8, 19], np.int32), gy[..., 0].size, conv.out_c, bias]),
        ]
    return calls


def other_calls(generator: np.random.Generator) -> list[tuple[str, list[Argument]]]:
    calls: list[tuple[str, list[Argument]]] = []
    for inputs, outputs in ((40, 10), (9, 7), (3, 1)):
        shape = np.array([inputs, outputs], np.int32)
        x, gy, w = int8s(generator, inputs), int8s(generator, outputs), int8s(generator, inputs, outputs)
        bias = generator.integers(-(2**20), 2**20, outputs, np.int32)
        scales = np.array([8, 4, 7], np.int32)
        sgd = np.array([3000, 99, 0, 1], np.uint32)
        calls += [
            ("int8_dense", [shape, x, w, bias, 9, 0, np.zeros(outputs, np.int8)]),
            ("int8_dense_logits", [shape, x, w, bias, np.zeros(outputs, np.int32)]),
            ("int8_dense_input_gradient", [shape, gy, scales, w, None, np.zeros_like(x)]),
            ("int8_dense_update", [shape, sgd, gy, x, scales, w.copy(), int8s(generator, inputs, outputs)]),
        ]
    for h, w_, c in ((12, 12, 12), (5, 7, 3)):
        shape = np.array([h, w_, c], np.int32)
        x, gy = int8s(generator, h, w_, c), int8s(generator, h // 2, w_ // 2, c)
        winners = ref.pack_winners(generator.integers(0, 4, gy.size))
        calls += [
            ("int8_max_pool", [shape, x, np.zeros_like(gy), np.zeros_like(winners)]),
            ("int8_max_pool_gradient", [shape, gy, winners, np.zeros_like(x)]),
        ]
    for exponent in (0, 11, 20):
        logits = (generator.normal(0, 3, 10) * 2.0**exponent).astype(np.int32)
        calls.append(("int8_softmax_cross_entropy", [10, logits, exponent, 4, np.zeros(10, np.int8),
                                                     np.zeros(10, np.uint32), np.zeros(3, np.int32)]))  # fmt: skip
    return calls


def copied(arguments: list[Argument]) -> list[Argument]:
    return [argument.copy() if isinstance(argument, np.ndarray) else argument for argument in arguments]


@pytest.mark.parametrize("make", [conv_calls, other_calls])
def test_every_kernel_gives_the_host_s_bits(
    host: HostTarget, core: CoreTarget, make: Callable[[np.random.Generator], list[tuple[str, list[Argument]]]]
) -> None:
    for name, arguments in make(np.random.default_rng(7)):
        there, here = copied(arguments), copied(arguments)
        returned = core.call(name, *there)
        if name.endswith("input_gradient"):
            assert returned == host.call(name, *here), name
        else:
            host.call(name, *here)
        for ours, theirs in zip(here, there, strict=True):
            np.testing.assert_array_equal(ours, theirs, err_msg=name)


@pytest.mark.parametrize("make", [conv_calls, other_calls])
def test_no_kernel_s_instruction_count_depends_on_data(
    core: CoreTarget, make: Callable[[np.random.Generator], list[tuple[str, list[Argument]]]]
) -> None:
    """Random values, other random values, zeros, and extremes that saturate: one count."""

    def filled(arguments: list[Argument], value: int) -> list[Argument]:
        return [np.full_like(argument, value) if isinstance(argument, np.ndarray) and argument.dtype == np.int8
                else argument for argument in copied(arguments)]  # fmt: skip

    first, second = make(np.random.default_rng(1)), make(np.random.default_rng(2))
    for (name, arguments), (_, others) in zip(first, second, strict=True):
        counts = set()
        for case in (copied(arguments), copied(others), filled(arguments, 0), filled(arguments, -128)):
            core.call(name, *case)
            counts.add(core.instructions)
        assert len(counts) == 1, f"{name}: {sorted(counts)}"


def train_on(target: CoreTarget, engine: Engine, data: fashion_mnist.Dataset, steps: int) -> tuple[bytes, set[int]]:
    """Parameters after `steps` steps from the seeded start, and the instruction counts that occurred."""
    plan = engine.plan
    params = np.frombuffer(engine.begin(plan.encode_down(plan.initial(3))), np.uint8).copy()
    arena, result, counts = np.full(plan.arena_bytes, 0xA5, np.uint8), np.zeros(3, np.uint32), set()
    for step in range(steps):
        arguments = np.array([learning_rate_q16(RATE), SEED + step, data.train_y[step]], np.uint32)
        target.call("program_step", params, arena, data.train_x[step].reshape(-1).copy(), arguments, result)
        counts.add(target.instructions)
    return params.tobytes(), counts


def test_twenty_training_steps_leave_the_same_bytes_within_their_instructions(
    core: CoreTarget, data: fashion_mnist.Dataset
) -> None:
    engine = Engine("demo_int8")
    plan = engine.plan
    expected, _ = engine.train(plan.encode_down(plan.initial(3)), data.train_x[:20], data.train_y[:20],
                               learning_rate=RATE, seed=SEED)  # fmt: skip
    params, counts = train_on(core, engine, data, 20)
    assert params == expected
    assert len(counts) == 1, "a step's instruction count depends on data"
    assert 100_000 < counts.pop() <= STEP_LIMITS[core.core]


def test_float32_gives_the_host_s_bits_on_the_fpu_too(
    data: fashion_mnist.Dataset, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """No contraction, one order of sums: so float32 is as reproducible as int8, and its count as constant."""
    engine = Engine("demo_float32")
    plan = engine.plan
    expected, _ = engine.train(plan.encode_down(plan.initial(3)), data.train_x[:20], data.train_y[:20],
                               learning_rate=RATE, seed=SEED)  # fmt: skip
    target = CoreTarget("cortex-m4f", "demo_float32", tmp_path_factory.mktemp("image"))
    params, counts = train_on(target, engine, data, 20)
    assert params == expected
    assert len(counts) == 1
    assert counts.pop() <= 400_000
