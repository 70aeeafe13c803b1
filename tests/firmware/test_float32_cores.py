"""The float32 kernels give the host's bits on a Cortex-M4F, in instruction counts that do not depend on data.

No contraction into fused multiply-add, one order of sums, nothing of the C library's mathematics: so float32 is as
reproducible as int8. The image is compiled with the board's flags and executed by Unicorn.
"""

from __future__ import annotations

from collections.abc import Callable

import float32_cases as cases
import numpy as np
import pytest
from engine_targets import Argument, CoreTarget, HostTarget
from float32_cases import LINEAR, RANGES, RELU, RELU6, splits
from float32_reference import Array, Axis, Conv, Pool, Upsampling, packed

Calls = list[tuple[str, list[Argument]]]
Values = Callable[..., Array]
"""Floats of a shape."""

RATE = np.array([0.03], np.float32)


def same(size: int, kernel: int) -> Axis:
    return Axis(size, size, kernel, 1, kernel // 2)


CONVS = [
    (Conv(same(8, 3), same(7, 3), 5, 11, 1), 2),
    (Conv(Axis(9, 4, 3, 2, 0), Axis(6, 3, 2, 2, 1), 3, 6, 1), 3),
    (Conv(same(4, 1), same(5, 1), 8, 12, 1), 4),
    (Conv(Axis(4, 1, 4, 1, 0), Axis(3, 1, 3, 1, 0), 6, 10, 1), 0),
    (Conv(Axis(4, 1, 4, 1, 0), Axis(3, 1, 3, 1, 0), 6, 10, 1), 4),
    (Conv(same(5, 3), Axis(7, 3, 3, 2, 0), 6, 4, 2), 1),
]
"""With the input channels of each group that are trained."""
DEPTHWISE = [(Conv(same(8, 3), Axis(7, 3, 3, 2, 0), 9, 9, 9), 4), (Conv(same(4, 1), same(4, 1), 7, 7, 7), 7)]
POOLS = [
    Pool(Axis(6, 3, 2, 2, 0), Axis(7, 3, 2, 2, 0), 5),
    Pool(Axis(6, 3, 3, 2, 1), Axis(5, 5, 3, 1, 1), 6),
    Pool(Axis(7, 1, 7, 1, 0), Axis(5, 1, 5, 1, 0), 8),
]


def bits(generator: np.random.Generator, size: int) -> Array:
    return packed(generator.integers(0, 2, size), 1)


def zeros(shape: int | tuple[int, ...]) -> Array:
    return np.zeros(shape, np.float32)


def convolutions(generator: np.random.Generator, values: Values) -> Calls:
    calls: Calls = []
    for conv, trained_in in CONVS:
        x, gy, bias = values(*conv.x_shape), values(*conv.y_shape), values(conv.out_c)
        parts = splits(values(*conv.w_shape), trained_in)
        gate = bits(generator, x.size)
        scratch = zeros(conv.in_c * conv.rows.kernel * conv.columns.kernel)
        trained = values(*conv.w_shape[:3], trained_in)
        calls += [("conv2d", [conv.fields, x, *parts, trained_in, bias, each, scratch, zeros(gy.shape)])
                  for each in RANGES]  # fmt: skip
        calls += [("conv2d_input_gradient", [conv.fields, gy, *parts, trained_in, each, zeros(x.shape)])
                  for each in (gate, None)]  # fmt: skip
        calls += [(f"conv2d_update_{rule}", [RATE, conv.fields, gy, x, conv.in_c, trained.copy(), trained_in])
                  for rule in ("immediate", "accumulated")]  # fmt: skip
        calls += [(f"update_bias_{rule}", [RATE, gy, gy[..., 0].size, conv.out_c, bias.copy()])
                  for rule in ("immediate", "accumulated")]  # fmt: skip
    return calls


def depthwise(generator: np.random.Generator, values: Values) -> Calls:
    calls: Calls = []
    for conv, trained_in in DEPTHWISE:
        x, gy, bias = values(*conv.x_shape), values(*conv.y_shape), values(conv.out_c)
        weights = values(*conv.w_shape[1:3], conv.in_c)
        parts, trained = splits(weights, trained_in), np.ascontiguousarray(weights[..., :trained_in])
        gate = bits(generator, x.size)
        calls += [
            ("depthwise2d", [conv.fields, x, *parts, trained_in, bias, RELU6, zeros(gy.shape)]),
            ("depthwise2d_input_gradient", [conv.fields, gy, *parts, trained_in, gate, zeros(x.shape)]),
            ("depthwise2d_update_immediate", [RATE, conv.fields, gy, x, conv.in_c, trained.copy(), trained_in]),
            ("depthwise2d_update_accumulated", [RATE, conv.fields, gy, x, conv.in_c, trained.copy(), trained_in]),
        ]
    return calls


def pools(generator: np.random.Generator, values: Values) -> Calls:
    calls: Calls = []
    for pool in POOLS:
        x, gy = values(*pool.x_shape), values(*pool.y_shape)
        gate = bits(generator, x.size)
        width = 2 if pool.taps <= 4 else 4 if pool.taps <= 16 else 8
        winners = packed(pool.winners(generator.normal(0, 1, x.shape)), width)
        calls += [
            ("avg_pool", [pool.fields, x, zeros(gy.shape)]),
            ("avg_pool_gradient", [pool.fields, gy, gate, zeros(x.shape)]),
            ("max_pool", [pool.fields, x, zeros(gy.shape), np.zeros_like(winners)]),
            ("max_pool", [pool.fields, x, zeros(gy.shape), None]),
            ("max_pool_gradient", [pool.fields, gy, winners, gate, zeros(x.shape)]),
            ("max_pool_gradient", [pool.fields, gy, winners, None, zeros(x.shape)]),
        ]
    shape = Upsampling(3, 4, 6, 5, 8, 2)
    x, gy = values(*shape.x_shape), values(*shape.y_shape)
    calls += [
        ("upsample", [shape.fields, x, zeros(gy.shape)]),
        ("upsample_gradient", [shape.fields, gy, bits(generator, x.size), zeros(x.shape)]),
    ]
    return calls


def elementwise(generator: np.random.Generator, values: Values) -> Calls:
    a, b, gate = values(61), values(61), bits(generator, 61)
    sample = generator.integers(-128, 128, 61, np.int8)
    calls: Calls = [("add", [61, a, b, bounds, zeros(61)]) for bounds in (LINEAR, RELU, RELU6)]
    calls += [("pack_gate", [61, a, bounds, np.zeros(8, np.uint8)]) for bounds in (LINEAR, RELU, RELU6)]
    calls += [
        ("add_gradients", [61, a, b, gate, zeros(61)]),
        ("gate_gradient", [61, a, gate, zeros(61)]),
        ("slice_channels", [12, 5, 3, a, zeros(36)]),
        ("widen_sample", [61, sample, np.array([1 / 64], np.float32), zeros(61)]),
        ("fold", [RATE, 61, a.copy(), b.copy()]),
    ]
    return calls


def losses(generator: np.random.Generator, values: Values) -> Calls:
    label = int(generator.integers(0, 10))
    return [
        ("softmax_cross_entropy", [10, values(10), label, zeros(10), zeros(2)]),
        ("softmax_cross_entropy", [10, values(10) * np.float32(40), label, zeros(10), zeros(2)]),
        ("mean_squared_error", [61, values(61), values(61), zeros(61), zeros(2)]),
        ("mean_squared_error_label", [10, values(10), label, zeros(10), zeros(2)]),
    ]


MAKERS = [convolutions, depthwise, pools, elementwise, losses]


def random_values(seed: int) -> Values:
    generator = np.random.default_rng(seed)
    return lambda *shape: (generator.normal(0, 2, shape)).astype(np.float32)


def constant(value: float) -> Values:
    return lambda *shape: np.full(shape, value, np.float32)


@pytest.fixture(scope="module")
def host() -> HostTarget:
    return HostTarget("float32", cases.SOURCES)


@pytest.fixture(scope="module")
def core(tmp_path_factory: pytest.TempPathFactory) -> CoreTarget:
    return CoreTarget("cortex-m4f", "float32", tmp_path_factory.mktemp("image"), cases.SOURCES)


@pytest.mark.parametrize("make", MAKERS)
@pytest.mark.parametrize("values", [random_values(1), constant(0.0)], ids=["random", "zero"])
def test_every_kernel_gives_the_host_s_bits(
    host: HostTarget, core: CoreTarget, make: Callable[..., Calls], values: Values
) -> None:
    for name, arguments in make(np.random.default_rng(7), values):
        here = [each.copy() if isinstance(each, np.ndarray) else each for each in arguments]
        core.call(name, *arguments)
        host.call(name, *here)
        for ours, theirs in zip(here, arguments, strict=True):
            if isinstance(ours, np.ndarray) and isinstance(theirs, np.ndarray):
                assert ours.tobytes() == theirs.tobytes(), name


@pytest.mark.parametrize("make", MAKERS)
def test_no_kernel_s_instruction_count_depends_on_data(core: CoreTarget, make: Callable[..., Calls]) -> None:
    """Random values, gates, winners and labels, others, zeros, and magnitudes whose sums overflow: one count."""
    sources = [random_values(1), random_values(2), constant(0.0), constant(-1e-30), constant(1e30), constant(-1e30)]
    variants = [make(np.random.default_rng(seed), values) for seed, values in enumerate(sources)]
    for same_call in zip(*variants, strict=True):
        counts = set()
        for name, arguments in same_call:
            core.call(name, *arguments)
            counts.add(core.instructions)
        assert len(counts) == 1, f"{name}: {sorted(counts)}"


def test_all_arithmetic_is_the_fpu_s_single_precision(core: CoreTarget) -> None:
    """Neither the compiler's routines for double and single precision nor the mathematical library are linked in."""
    routines = {name for name in core.symbols if name.startswith(("__aeabi_d", "__aeabi_f", "__aeabi_l"))}
    assert not routines | ({"exp", "expf", "log", "logf", "sqrtf"} & set(core.symbols))


LIMITS = {
    "conv2d": 4.5,
    "conv2d_input_gradient": 4.2,
    "conv2d_update_immediate": 4.5,
    "depthwise2d": 9.2,
    "depthwise2d_input_gradient": 9.2,
    "depthwise2d_update_immediate": 5.2,
}
"""Instructions for each product of a layer of usual size: 16 channels, 3x3 taps, on 8x8."""


def test_a_product_takes_few_instructions(core: CoreTarget) -> None:
    values, scratch, found = random_values(3), zeros(9 * 16), {}
    for kernel, groups in (("conv2d", 1), ("depthwise2d", 16)):
        conv = Conv(same(8, 3), same(8, 3), 16, 16, groups)
        x, gy, bias, weights = (values(*shape) for shape in (conv.x_shape, conv.y_shape, (16,), conv.w_shape))
        room = [scratch] if kernel == "conv2d" else []
        calls: Calls = [
            (kernel, [conv.fields, x, weights, None, 16, bias, RELU, *room, gy.copy()]),
            (f"{kernel}_input_gradient", [conv.fields, gy, weights, None, 16, None, x.copy()]),
            (f"{kernel}_update_immediate", [RATE, conv.fields, gy, x, 16, weights.copy(), 16]),
        ]
        for name, arguments in calls:
            core.call(name, *arguments)
            found[name] = core.instructions / (gy.size * 9 * conv.group_in)
    assert all(found[name] <= limit for name, limit in LIMITS.items()), str(found)
