"""The int8 backward kernels that are made for one layer give the general kernels' bits, on each core that has them.

Everything that is written counts: maps, weights, residuals, peaks, and the number of clipped values. The layers are
those that the probe lists. The host has no kernels of its own kind: there, only the choice of the general one is tried.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from engine_targets import BOARD_OF_CORE, Argument, CoreTarget
from float32_reference import Axis, Conv, packed
from int8_backward_cases import RULES, Map, Step, Weights, gradients, int8s, ints, splits
from int8_backward_cases import SOURCES as GENERAL
from numpy.typing import NDArray

FAST = Path(__file__).resolve().parents[2] / "firmware" / "engine" / "int8" / "fast"
PROBE = Path(__file__).with_name("int8_fast_backward_probe.cpp")
SOURCES = [*GENERAL[:-1], FAST.parent / "add.cpp", FAST.parent / "pack_gate.cpp", *sorted(FAST.glob("*.cpp")), PROBE]
GUARD, GUARDED = 0x5A, 64


@pytest.fixture(scope="module", params=BOARD_OF_CORE)
def core(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> CoreTarget:
    return CoreTarget(request.param, "int8-fast-backward", tmp_path_factory.mktemp("image"), SOURCES)


class Case(NamedTuple):
    """One of the probe's layers: its number there, and the bytes of scratch that its kernel may use."""

    number: int
    conv: Conv
    trained_in: int
    scratch: int


def cases(core: CoreTarget, kind: str) -> list[Case]:
    """The probe's."""
    found: list[Case] = []
    count = 1
    while len(found) < count:
        fields = ints(*range(15))
        count = core.call(f"{kind}_case", len(found), fields)
        in_h, in_w, in_c, out_h, out_w, out_c, kernel_h, kernel_w, stride_h, stride_w, top, left, groups = fields[:13]
        rows, columns = Axis(in_h, out_h, kernel_h, stride_h, top), Axis(in_w, out_w, kernel_w, stride_w, left)
        conv = Conv(rows, columns, int(in_c), int(out_c), int(groups))
        found.append(Case(len(found), conv, int(fields[13]), int(fields[14])))
    return found


def copied(arguments: list[Argument]) -> list[Argument]:
    return [argument.copy() if isinstance(argument, np.ndarray) else argument for argument in arguments]


def check(core: CoreTarget, name: str, number: int, arguments: list[Argument], scratch: int | None) -> int:
    """Both kernels do the same; `scratch` is the argument that may differ, but for what lies behind it. Returns the
    fast one's instructions."""
    general, fast = copied(arguments), copied(arguments)
    expected = core.call(name, number, 0, *general)
    found = core.call(name, number, 1, *fast)
    assert found == expected, (name, number)
    for index, (ours, theirs) in enumerate(zip(fast, general, strict=True)):
        if index == scratch:
            assert isinstance(ours, np.ndarray)
            assert (ours[-GUARDED:] == GUARD).all(), f"{name} {number} leaves its scratch"
        else:
            np.testing.assert_array_equal(ours, theirs, err_msg=f"{name} {number}, argument {index}")
    return core.instructions


def scratch_of(case: Case) -> NDArray[np.uint8]:
    return np.full(case.scratch + GUARDED, GUARD, np.uint8)


def gradient_arguments(generator: np.random.Generator, case: Case, depthwise: bool) -> list[Argument]:
    conv = case.conv
    shape = (*conv.w_shape[1:3], conv.in_c) if depthwise else conv.w_shape
    gate = generator.random(conv.x_shape) < generator.random() if generator.random() < 0.7 else None
    gx = Map(conv.x_shape, gate, int(2.0 ** generator.uniform(0, 31)) - 1)
    step = Step(seed=int(generator.integers(2**32)))
    gy, w = gradients(generator, *conv.y_shape), int8s(generator, *shape)
    gate_bits, peak, values = gx.arguments()
    parts = splits(w, case.trained_in)
    return [step.sgd, gy, int(generator.integers(-20, 40)), *parts, gate_bits, peak, scratch_of(case), values]


@pytest.mark.parametrize("kind", ["conv", "depthwise"])
def test_input_gradients(core: CoreTarget, kind: str) -> None:
    """And their instruction counts do not depend on data; a gate that is absent may cost less."""
    generator = np.random.default_rng(3)
    depthwise = kind == "depthwise"
    name = "depthwise2d_input_gradient" if depthwise else "conv2d_input_gradient"
    for case in cases(core, kind):
        counts: dict[bool, set[int]] = {False: set(), True: set()}
        for _ in range(4):
            arguments = gradient_arguments(generator, case, depthwise)
            counts[arguments[5] is None].add(check(core, name, case.number, arguments, 7))
        assert all(len(of) <= 1 for of in counts.values()), (name, case.number, counts)


def update_arguments(generator: np.random.Generator, case: Case, rule: str) -> list[Argument]:
    conv, trained_in = case.conv, case.trained_in
    step = Step(int(2.0 ** generator.uniform(0, 20)), int(generator.integers(2**32)))
    lift = np.zeros(conv.out_c, np.int8)  # the probe has its own
    weights = Weights.random(generator, rule, (*conv.w_shape[:3], trained_in), lift, 6)
    channels = trained_in if conv.groups == 1 and trained_in % 2 else conv.in_c
    x = int8s(generator, *conv.x_shape[:2], channels)
    gy, gy_exponent = gradients(generator, *conv.y_shape), int(generator.integers(-2, 30))
    return [step.sgd, RULES.index(rule), gy, gy_exponent, x, weights.values, weights.residuals, scratch_of(case)]


def test_updates(core: CoreTarget) -> None:
    generator = np.random.default_rng(4)
    for case in cases(core, "update"):
        for rule in RULES:
            counts = {
                check(core, "conv2d_update", case.number, update_arguments(generator, case, rule), 7) for _ in range(3)
            }
            assert len(counts) == 1, (case.number, rule, counts)


def into(generator: np.random.Generator, shape: tuple[int, ...]) -> list[Argument]:
    """A map with a random gate and peak."""
    return Map(shape, generator.random(shape) < 0.6, int(2.0 ** generator.uniform(0, 31)) - 1).arguments()


def seeded(generator: np.random.Generator) -> Step:
    return Step(int(2.0 ** generator.uniform(0, 20)), int(generator.integers(2**32)))


POOLS = (((1, 1, 44), (4, 3, 44)), ((2, 2, 8), (4, 6, 8)), ((3, 3, 8), (5, 5, 8)))


@pytest.mark.parametrize("number", range(3))
def test_average_pools(core: CoreTarget, number: int) -> None:
    generator = np.random.default_rng(5)
    y_shape, x_shape = POOLS[number]
    counts = {
        check(core, "avg_pool_gradient", number,
              [seeded(generator).sgd, gradients(generator, *y_shape), *into(generator, x_shape)], None)
        for _ in range(4)
    }  # fmt: skip
    assert len(counts) == 1


@pytest.mark.parametrize("n", [4, 32, 100, 101])
def test_sums_of_gradients(core: CoreTarget, n: int) -> None:
    generator = np.random.default_rng(6)
    counts = set()
    for distance in (0, 1, -3, 9, -40):
        exponent = int(generator.integers(-20, 40))
        a, b = gradients(generator, n), gradients(generator, n)
        gate, peak, y = into(generator, (n,))
        arguments = [seeded(generator).sgd, a, exponent, b, exponent + distance, gate, peak, y]
        counts.add(check(core, "add_gradients", n, arguments, None))
    assert len(counts) == 1


def test_sums(core: CoreTarget) -> None:
    """Pairs of all values, in all scales and ranges; apart and in place."""
    a, b = (half.astype(np.int8).reshape(-1) for half in np.mgrid[-128:128, -128:128])
    generator = np.random.default_rng(9)
    for number in range(core.call("add", -1, 0, 0, None, None, None)):
        for chosen in (slice(0, None, 7), generator.permutation(a.size)[:103]):
            left, right = np.ascontiguousarray(a[chosen]), np.ascontiguousarray(b[chosen])
            y = np.full(left.size, 99, np.int8)
            check(core, "add", number, [left.size, left, right, y], None)
            core.call("add", number, 0, left.size, left, right, y)
            core.call("add", number, 1, left.size, left, right, left)
            np.testing.assert_array_equal(left, y)


@pytest.mark.parametrize("n", [8, 40, 43, 7])
def test_gates(core: CoreTarget, n: int) -> None:
    generator = np.random.default_rng(7)
    counts = set()
    for low, high in ((0, 127), (0, 96), (0, 1), (-128, 127), (-5, -3)):
        y = generator.integers(-128, 128, n, np.int8)
        y[: min(n, 4)] = (low, high, min(low + 1, 127), max(high - 1, -128))[:n]
        bits = np.full((n + 7) // 8, GUARD, np.uint8)
        counts.add(check(core, "pack_gate", n, [y, low, high, bits], None))
    assert len(counts) <= 2, "a range without an upper bound may cost more or less"
    inside = (y > low) & (y < high)
    core.call("pack_gate", n, 1, y, low, high, bits)
    np.testing.assert_array_equal(bits, packed(inside, 1))


@pytest.mark.parametrize(("positions", "channels"), [(1, 4), (64, 12), (25, 8), (300, 8), (515, 4), (6, 5)])
def test_biases(core: CoreTarget, positions: int, channels: int) -> None:
    generator = np.random.default_rng(8)
    counts = set()
    for case in range(6):
        gy = gradients(generator, positions, channels) if case else np.full((positions, channels), -127, np.int8)
        bias = generator.choice([-(2**29), -5000, 0, 77, 2**29], channels).astype(np.int32)
        lift = generator.integers(0, 8, channels, np.int8)
        arguments = [seeded(generator).sgd, channels, gy, int(generator.integers(-30, 60)), bias, lift]
        counts.add(check(core, "update_bias", positions, arguments, None))
    assert len(counts) == 1
