"""The kernels made for the host, which the fleet runs, give the general kernels' bits over shapes of all kinds.

Whatever the values: infinities, negative zeros, denormal numbers and what is not a number included, but for the bits of
the latter. Nothing around an output is written.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import float32_cases
import int8_backward_cases
import int8_forward_cases as forward
import numpy as np
import pytest
from engine_targets import Argument, HostTarget
from float32_cases import LINEAR, RANGES, pools, splits
from float32_reference import Array, Axis, Conv, Pool
from hypothesis import given, settings
from hypothesis import strategies as st
from int8_backward_cases import RULES, Map, Step, Weights, conv_gradient_arguments, gradients, int8s, lifts

from bench.fleet.engine import for_host

SOURCES = {
    "float32": float32_cases.SOURCES,
    "forward": forward.SOURCES,
    "backward": int8_backward_cases.SOURCES,
}
SPECIAL = np.array([0, -0.0, np.inf, -np.inf, np.nan, 1e-40, -1e-40, 3e38, -3e38], np.float32)
GUARDS = 16
SEEDS = st.integers(0, 2**32 - 1)
many = settings(max_examples=150, deadline=None, derandomize=True)


@st.composite
def axes(draw: st.DrawFn) -> Axis:
    kernel, stride = draw(st.integers(1, 6)), draw(st.integers(1, 2))
    pad = draw(st.integers(0, kernel - 1))
    size = draw(st.integers(max(kernel - 2 * pad, 1), kernel + 12))
    return Axis(size, (size + 2 * pad - kernel) // stride + 1, kernel, stride, pad)


@st.composite
def convs(draw: st.DrawFn) -> Conv:
    """As many channels as fill several registers, and remainders; windows, pointwise, fully connected, in groups."""
    kind = draw(st.sampled_from(["window", "window", "pointwise", "dense", "grouped"]))
    groups = draw(st.integers(2, 3)) if kind == "grouped" else 1
    in_c = groups * draw(st.one_of(st.integers(1, 9), st.sampled_from([16, 20])))
    out_c = groups * draw(st.one_of(st.integers(1, 9), st.sampled_from([16, 17, 30, 42])))
    if kind == "dense":
        rows, columns = (Axis(side, 1, side, 1, 0) for side in (draw(st.integers(1, 5)), draw(st.integers(1, 5))))
    elif kind == "pointwise":
        rows, columns = (Axis(side, side, 1, 1, 0) for side in (draw(st.integers(1, 9)), draw(st.integers(1, 9))))
    else:
        rows, columns = draw(axes()), draw(axes())
    return Conv(rows, columns, in_c, out_c, groups)


def floats(generator: np.random.Generator, special: bool, *shape: int) -> Array:
    found = generator.standard_normal(shape).astype(np.float32)
    if special:
        where = generator.random(shape) < 0.04
        found[where] = generator.choice(SPECIAL, int(where.sum()))
    return found


@cache
def target(probe: str, made: bool) -> HostTarget:
    return HostTarget(f"made-{probe}", SOURCES[probe], made=made)


@pytest.fixture(scope="module", autouse=True)
def compiled() -> None:
    """Before any example: hypothesis would shrink what does not compile."""
    for probe in SOURCES:
        assert target(probe, False) is not target(probe, True)


def bits(values: Array) -> Array:
    if values.dtype != np.float32:
        return values
    return np.where(np.isnan(values), np.uint32(0x7FC00000), values.view(np.uint32))


def assert_same(probe: str, name: str, arguments: Sequence[Argument], *, returns: bool = False,
                scratch: int | None = None) -> None:  # fmt: skip
    """Calls both kernels on copies of the arguments, each array between guards.

    `returns`: not void. `scratch`: the argument of which only the guards count.
    """
    general, ours = (
        _called(target(probe, made), name, arguments, returns=returns, scratch=scratch) for made in (False, True)
    )
    for index, (expected, found) in enumerate(zip(general, ours, strict=True)):
        np.testing.assert_array_equal(found, expected, err_msg=f"{name}, argument {index}")


def _called(
    kernels: HostTarget, name: str, arguments: Sequence[Argument], *, returns: bool, scratch: int | None
) -> list[Array | int | None]:
    """What the arguments are afterwards, and what is returned."""
    rooms: list[Argument] = []
    for argument in arguments:
        if isinstance(argument, np.ndarray):
            guard = np.full(GUARDS, 85, argument.dtype)
            rooms.append(np.concatenate([guard, argument.reshape(-1), guard]))
        else:
            rooms.append(argument)
    returned = kernels.call(name, *(room[GUARDS:-GUARDS] if isinstance(room, np.ndarray) else room for room in rooms))
    if scratch is not None and isinstance(room := rooms[scratch], np.ndarray):
        room[GUARDS:-GUARDS] = 0
    return [*(bits(room) if isinstance(room, np.ndarray) else room for room in rooms), returned if returns else None]


@many
@given(convs(), SEEDS, st.integers(0, 4), st.booleans(), st.data())
def test_float32_convolutions(conv: Conv, seed: int, part: int, special: bool, data: st.DataObject) -> None:
    generator = np.random.default_rng(seed)
    trained_in = conv.group_in * part // 4
    x, w, gy, bias = (floats(generator, special, *shape)
                      for shape in (conv.x_shape, conv.w_shape, conv.y_shape, (conv.out_c,)))  # fmt: skip
    window = np.zeros(conv.rows.kernel * conv.columns.kernel * conv.in_c, np.float32)
    parts = splits(w, trained_in)
    # The sign of what is no number depends on the order of a sum's operands, and ReLU makes 0 of a negative one.
    bounds = LINEAR if special else data.draw(st.sampled_from(RANGES), "range")
    y = np.empty_like(gy)
    assert_same("float32", "conv2d", [conv.fields, x, *parts, trained_in, bias, bounds, window, y], scratch=7)
    gate = generator.integers(0, 256, (x.size + 7) // 8, np.uint8) if data.draw(st.booleans(), "gate") else None
    assert_same("float32", "conv2d_input_gradient", [conv.fields, gy, *parts, trained_in, gate, np.empty_like(x)])
    if trained_in:
        trained = np.ascontiguousarray(w[..., :trained_in])
        for rule in ("immediate", "accumulated"):
            assert_same("float32", f"conv2d_update_{rule}",
                        [np.array([0.3], np.float32), conv.fields, gy, x, conv.in_c, trained, trained_in])  # fmt: skip


@st.composite
def all_pools(draw: st.DrawFn) -> Pool:
    """Also such whose windows tile the map, and more channels than a register has lanes."""
    if draw(st.booleans()):
        return draw(pools())
    rows, columns = (
        Axis(n * k, n, k, k, 0) for n, k in draw(st.tuples(*[st.tuples(st.integers(1, 6), st.integers(1, 4))] * 2))
    )
    return Pool(rows, columns, draw(st.integers(1, 20)))


@many
@given(all_pools(), SEEDS, st.booleans(), st.booleans())
def test_float32_max_pools(pool: Pool, seed: int, special: bool, gated: bool) -> None:
    generator = np.random.default_rng(seed)
    x, gy = floats(generator, special, *pool.x_shape), floats(generator, special, *pool.y_shape)
    if generator.random() < 0.5:
        x = np.round(x)  # equals
    width = 2 if pool.taps <= 4 else 4 if pool.taps <= 16 else 8
    winners = np.zeros((gy.size * width + 7) // 8, np.uint8)
    assert_same("float32", "max_pool", [pool.fields, x, np.empty_like(gy), winners])
    assert_same("float32", "max_pool", [pool.fields, x, np.empty_like(gy), None])
    target("float32", False).call("max_pool", pool.fields, x, np.empty_like(gy), winners)
    gate = generator.integers(0, 256, (x.size + 7) // 8, np.uint8) if gated else None
    assert_same("float32", "max_pool_gradient", [pool.fields, gy, winners, gate, np.empty_like(x)])


@many
@given(all_pools(), SEEDS)
def test_int8_max_pools(pool: Pool, seed: int) -> None:
    assert_same("forward", *forward.max_pool_call(np.random.default_rng(seed), pool))


@many
@given(convs(), SEEDS, st.integers(0, 4))
def test_int8_convolutions(conv: Conv, seed: int, part: int) -> None:
    generator = np.random.default_rng(seed)
    trained_in = conv.group_in * part // 4
    w = int8s(generator, *conv.w_shape)
    for call in (forward.conv_call(generator, conv, w, trained_in, forward.RANGES[seed % 3]),
                 forward.logits_call(generator, conv, w, trained_in)):  # fmt: skip
        assert_same("forward", *call, scratch=8 if call[0] == "conv2d" else 6)
    step = Step(int(2.0 ** generator.uniform(0, 20)), int(generator.integers(2**32)))
    lift, gy = lifts(generator, conv), gradients(generator, *conv.y_shape)
    gate = generator.random(conv.x_shape) < 0.6 if seed % 2 else None
    gx = Map(conv.x_shape, gate, int(2.0 ** generator.uniform(0, 31)) - 1)
    arguments = conv_gradient_arguments(conv, gy, (3, 5), w, trained_in, lift)
    assert_same("backward", "conv2d_input_gradient", [step.sgd, *arguments, *gx.arguments()], returns=True)
    if trained_in:
        for rule in RULES:
            weights = Weights.random(generator, rule, (*conv.w_shape[:3], trained_in), lift, 6)
            x = int8s(generator, *conv.x_shape)
            assert_same("backward", "conv2d_update", [step.sgd, *weights.arguments(4, conv, gy, 7, x, 5)])


@pytest.mark.parametrize("probe", SOURCES)
def test_some_kernels_are_made_for_the_host(probe: str) -> None:
    """Or the others compare the general kernels with themselves."""
    assert for_host(SOURCES[probe]) != SOURCES[probe]
