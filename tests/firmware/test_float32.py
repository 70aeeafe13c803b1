"""The float32 kernels against an independent autodiff (JAX in float64) over shapes of all kinds.

That autodiff is itself confirmed in each case, by central differences of the operator in plain numpy. A kernel's error
is measured against the largest magnitude in its tensor, and against 1, the size of what goes in, where a small tensor's
sums all happen to cancel.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import float32_cases as cases
import jax
import numpy as np
import pytest
from engine_targets import Argument, HostTarget
from float32_cases import LINEAR, RANGES, RELU6, floats, splits
from float32_reference import Array, Conv, Double, Pool, Upsampling, central_difference, differentiated, double, packed
from hypothesis import given, settings
from hypothesis import strategies as st

RELATIVE = 1e-5
RATE = np.array([0.5], np.float32)
SENTINEL = 77
SEEDS = st.integers(0, 2**16)

few = settings(max_examples=20, deadline=None, derandomize=True)
many = settings(max_examples=100, deadline=None, derandomize=True)


class Kernels:
    """Calls kernels on the host; no output may be written beyond its end."""

    def __init__(self) -> None:
        self._guarded: list[tuple[Array, Array]] = []

    @cached_property
    def _host(self) -> HostTarget:
        return HostTarget("float32", cases.SOURCES)

    def room(self, shape: int | tuple[int, ...], dtype: type = np.float32) -> Array:
        """An array between elements that no kernel may touch."""
        size = int(np.prod(shape))
        whole = np.full(size + 32, SENTINEL, dtype)
        self._guarded.append((whole, whole[16 : 16 + size]))
        return whole[16 : 16 + size].reshape(shape)

    def call(self, name: str, *arguments: Argument) -> int:
        returned = self._host.call(name, *arguments)
        for whole, inner in self._guarded:
            assert (whole[:16] == SENTINEL).all(), name
            assert (whole[16 + inner.size :] == SENTINEL).all(), name
        self._guarded.clear()
        return returned


KERNELS = Kernels()


def assert_close(found: Array, expected: Array) -> None:
    assert found.shape == expected.shape
    assert np.abs(found - expected).max(initial=0) <= RELATIVE * np.abs(expected).max(initial=1)


def activated(x: Any, bounds: Array) -> Any:
    """What a Range stands for, of an array of JAX or of numpy."""
    if bounds is LINEAR:
        return x
    return x.clip(0.0, 6.0 if bounds is RELU6 else None)


def confirmed(
    exact: Callable[..., jax.Array], plain: Callable[..., Double], slope: Array, *arguments: Array
) -> tuple[Double, list[Double]]:
    """Value and gradients of `exact` by JAX; those of `plain`, by central differences, have to be the same."""
    value, gradients = differentiated(exact, slope, *arguments)
    np.testing.assert_allclose(plain(*(each.astype(np.float64) for each in arguments)), value, rtol=1e-12, atol=1e-12)
    generator = np.random.default_rng(0)
    for index, gradient in enumerate(gradients):
        for _ in range(3):
            direction = generator.normal(0, 1, gradient.shape)
            found = central_difference(plain, slope, arguments, index, direction)
            size = float(np.linalg.norm(gradient) * np.linalg.norm(direction))
            assert abs(found - float((gradient * direction).sum())) <= 1e-6 * max(1.0, size)
    return value, gradients


def gate_of(y: Array, bounds: Array) -> Array | None:
    """As the kernel packs it; a linear map has none."""
    if bounds is LINEAR:
        return None
    bits = KERNELS.room((y.size + 7) // 8, np.uint8)
    KERNELS.call("pack_gate", y.size, y, bounds, bits)
    return bits


@dataclass(frozen=True)
class Before:
    """A map z that goes through an activation before an operator reads it: gradients are of z, through the gate."""

    z: Array
    bounds: Array

    @classmethod
    def random(cls, generator: np.random.Generator, shape: tuple[int, ...], bounds: Array) -> Before:
        return cls(floats(generator, *shape) * np.float32(4 if bounds is RELU6 else 1), bounds)

    @property
    def x(self) -> Array:
        return np.ascontiguousarray(activated(self.z, self.bounds))

    @property
    def gate(self) -> Array | None:
        return gate_of(self.x, self.bounds)


@few
@given(cases.convs(), SEEDS, st.sampled_from(RANGES), st.data())
def test_conv2d_and_its_gradients(conv: Conv, seed: int, bounds: Array, data: st.DataObject) -> None:
    generator = np.random.default_rng(seed)
    before = Before.random(generator, conv.x_shape, bounds)
    w, bias = floats(generator, *conv.w_shape), floats(generator, conv.out_c)
    x, gy = before.x, floats(generator, *conv.y_shape)
    trained_in = data.draw(st.integers(0, conv.group_in), "trained_in")
    parts = splits(w, trained_in)
    exact, (dz, dw, db) = confirmed(
        lambda z, *rest: conv.jax(activated(z, bounds), *rest),
        lambda z, *rest: conv.numpy(activated(z, bounds), *rest), gy, before.z, w, bias,
    )  # fmt: skip

    scratch = KERNELS.call("scratch_size", conv.fields)
    for after in RANGES:
        y = KERNELS.room(conv.y_shape)
        KERNELS.call("conv2d", conv.fields, x, *parts, trained_in, bias, after,
                     KERNELS.room(scratch) if scratch else None, y)  # fmt: skip
        assert_close(y, activated(exact, after))
    gx = KERNELS.room(conv.x_shape)
    KERNELS.call("conv2d_input_gradient", conv.fields, gy, *parts, trained_in, before.gate, gx)
    assert_close(gx, dz)
    check_update("conv2d_update", conv, gy, x, dw[..., :trained_in])
    check_bias_update(gy, db)


@few
@given(cases.depthwise_convs(), SEEDS, st.sampled_from(RANGES), st.data())
def test_depthwise2d_and_its_gradients(conv: Conv, seed: int, bounds: Array, data: st.DataObject) -> None:
    """Its weights are [kernel_h][kernel_w][c]."""
    generator = np.random.default_rng(seed)
    before = Before.random(generator, conv.x_shape, bounds)
    w, bias = floats(generator, *conv.w_shape[1:3], conv.in_c), floats(generator, conv.in_c)
    x, gy = before.x, floats(generator, *conv.y_shape)
    trained_in = data.draw(st.integers(0, conv.in_c), "trained_in")
    parts = splits(w, trained_in)

    exact, (dz, dw, _) = confirmed(
        lambda z, w, bias: conv.jax(activated(z, bounds), w.transpose(2, 0, 1)[..., None], bias),
        lambda z, w, bias: conv.numpy(activated(z, bounds), w.transpose(2, 0, 1)[..., None], bias),
        gy, before.z, w, bias,
    )  # fmt: skip
    for after in RANGES:
        y = KERNELS.room(conv.y_shape)
        KERNELS.call("depthwise2d", conv.fields, x, *parts, trained_in, bias, after, y)
        assert_close(y, activated(exact, after))
    gx = KERNELS.room(conv.x_shape)
    KERNELS.call("depthwise2d_input_gradient", conv.fields, gy, *parts, trained_in, before.gate, gx)
    assert_close(gx, dz)
    check_update("depthwise2d_update", conv, gy, x, dw[..., :trained_in])


def check_update(name: str, conv: Conv, gy: Array, x: Array, slope: Double) -> None:
    """Both rules, with the whole input and, where the layer's slice of it is one, with that."""
    trained_in = slope.shape[-1]
    kept = [x]
    if conv.groups == 1 or name.startswith("depthwise"):
        kept.append(np.ascontiguousarray(x[..., :trained_in]))
    for source in kept:
        weights, before = KERNELS.room(slope.shape), floats(np.random.default_rng(1), *slope.shape)
        weights[...] = 0  # so that no bit of the step is lost
        KERNELS.call(f"{name}_immediate", RATE, conv.fields, gy, source, source.shape[-1], weights, trained_in)
        assert_close(weights, -RATE[0] * slope)
        pending = KERNELS.room(slope.shape)
        pending[...] = before
        KERNELS.call(f"{name}_accumulated", RATE, conv.fields, gy, source, source.shape[-1], pending, trained_in)
        assert_close(pending, before + slope)


def check_bias_update(gy: Array, slope: Double) -> None:
    positions, channels = gy[..., 0].size, gy.shape[-1]
    bias, pending = KERNELS.room(channels), KERNELS.room(channels)
    bias[...], pending[...] = 0, 3
    KERNELS.call("update_bias_immediate", RATE, gy, positions, channels, bias)
    assert_close(bias, -RATE[0] * slope)
    KERNELS.call("update_bias_accumulated", RATE, gy, positions, channels, pending)
    assert_close(pending, 3 + slope)


def test_a_fold_takes_the_accumulated_step_and_clears_it() -> None:
    generator = np.random.default_rng(2)
    values, pending = floats(generator, 21), floats(generator, 21)
    expected = values - RATE[0] * pending.astype(np.float64)
    KERNELS.call("fold", RATE, 21, values, pending)
    assert_close(values, expected)
    assert not pending.any()


@many
@given(st.integers(0, 40), SEEDS, st.sampled_from(RANGES), st.sampled_from(["apart", "y is a", "y is b"]))
def test_sums_and_their_gradients(n: int, seed: int, bounds: Array, aliasing: str) -> None:
    generator = np.random.default_rng(seed)
    a, b = floats(generator, n) * np.float32(4), floats(generator, n) * np.float32(4)
    total = a + b
    for name, argument in (("add", bounds), ("add_gradients", gate_of(total, bounds))):
        left, right = a.copy(), b.copy()
        y = {"apart": KERNELS.room(n), "y is a": left, "y is b": right}[aliasing]
        KERNELS.call(name, n, left, right, argument, y)
        inside = (total > bounds[0]) & ((total < bounds[1]) | (bounds[1] > 6))
        expected = np.clip(total, *bounds) if name == "add" else np.where(inside, total, 0)
        np.testing.assert_array_equal(y, expected)


@pytest.mark.parametrize("bounds", RANGES)
def test_a_gate_is_open_between_the_bounds_alone(bounds: Array) -> None:
    smallest = np.float32(1e-45)
    below_six = np.nextafter(np.float32(6), np.float32(0))
    values = np.array([-np.inf, -3, -smallest, -0.0, 0.0, smallest, 1, below_six, 6, 7, 3e38, np.inf], np.float32)
    stored = KERNELS.room(values.size)
    KERNELS.call("add", values.size, values, np.zeros_like(values), bounds, stored)
    np.testing.assert_array_equal(stored, np.clip(values, bounds[0] if bounds[0] == 0 else -np.inf,
                                                  bounds[1] if bounds[1] == 6 else np.inf))  # fmt: skip
    is_open = np.ones(values.size, bool)
    if bounds[0] == 0:
        is_open &= stored > 0
    if bounds[1] == 6:
        is_open &= stored < 6
    bits = KERNELS.room((values.size + 7) // 8, np.uint8)
    KERNELS.call("pack_gate", values.size, stored, bounds, bits)
    np.testing.assert_array_equal(bits, packed(is_open, 1))
    slope, gated = floats(np.random.default_rng(3), values.size), KERNELS.room(values.size)
    KERNELS.call("gate_gradient", values.size, slope, bits, gated)
    np.testing.assert_array_equal(gated, np.where(is_open, slope, 0))
    KERNELS.call("gate_gradient", values.size, slope, bits, slope)
    np.testing.assert_array_equal(gated, slope)


@few
@given(cases.pools(), SEEDS, st.sampled_from(RANGES))
def test_average_pooling_and_its_gradient(pool: Pool, seed: int, bounds: Array) -> None:
    generator = np.random.default_rng(seed)
    before, gy = Before.random(generator, pool.x_shape, bounds), floats(generator, *pool.y_shape)
    exact, (dz,) = confirmed(
        lambda z: pool.jax_average(activated(z, bounds)),
        lambda z: pool.numpy_average(activated(z, bounds)),
        gy,
        before.z,
    )
    y, gx = KERNELS.room(pool.y_shape), KERNELS.room(pool.x_shape)
    KERNELS.call("avg_pool", pool.fields, before.x, y)
    assert_close(y, exact)
    KERNELS.call("avg_pool_gradient", pool.fields, gy, before.gate, gx)
    assert_close(gx, dz)


@few
@given(cases.pools(), SEEDS)
def test_max_pooling_and_its_gradient(pool: Pool, seed: int) -> None:
    generator = np.random.default_rng(seed)
    x, gy = floats(generator, *pool.x_shape), floats(generator, *pool.y_shape)
    exact, (slope,) = confirmed(pool.jax_maximum, pool.numpy_maximum, gy, x)
    winner_bytes = KERNELS.call("winner_bytes", pool.fields)
    y, winners = KERNELS.room(pool.y_shape), KERNELS.room(winner_bytes, np.uint8)
    KERNELS.call("max_pool", pool.fields, x, y, winners)
    np.testing.assert_array_equal(y, exact)
    gx = KERNELS.room(pool.x_shape)
    KERNELS.call("max_pool_gradient", pool.fields, gy, winners, None, gx)
    assert_close(gx, slope)
    KERNELS.call("max_pool_gradient", pool.fields, gy, winners, packed(x > 0, 1), gx)
    assert_close(gx, np.where(x > 0, slope, 0))


@many
@given(cases.pools(), SEEDS, st.booleans())
def test_the_first_of_equals_wins_and_winners_are_packed(pool: Pool, seed: int, kept: bool) -> None:
    x = np.random.default_rng(seed).integers(-2, 2, pool.x_shape).astype(np.float32)
    bits = 2 if pool.taps <= 4 else 4 if pool.taps <= 16 else 8
    expected = packed(pool.winners(x), bits)
    assert KERNELS.call("winner_bytes", pool.fields) == expected.size
    y, winners = KERNELS.room(pool.y_shape), KERNELS.room(expected.size, np.uint8) if kept else None
    KERNELS.call("max_pool", pool.fields, x, y, winners)
    if winners is not None:
        np.testing.assert_array_equal(winners, expected)
    if pool.rows.pad == pool.columns.pad == 0:
        in_place = x.copy()
        KERNELS.call("max_pool", pool.fields, in_place, in_place, winners)
        np.testing.assert_array_equal(in_place.reshape(-1)[: y.size], y.reshape(-1))


@few
@given(cases.upsamplings(), SEEDS, st.sampled_from(RANGES))
def test_upsampling_and_its_gradient(shape: Upsampling, seed: int, bounds: Array) -> None:
    generator = np.random.default_rng(seed)
    before, gy = Before.random(generator, shape.x_shape, bounds), floats(generator, *shape.y_shape)
    exact, (dz,) = confirmed(
        lambda z: shape.jax(activated(z, bounds)), lambda z: shape.numpy(activated(z, bounds)), gy, before.z
    )
    y, gx = KERNELS.room(shape.y_shape), KERNELS.room(shape.x_shape)
    KERNELS.call("upsample", shape.fields, before.x, y)
    np.testing.assert_array_equal(y, exact.astype(np.float32))
    KERNELS.call("upsample_gradient", shape.fields, gy, before.gate, gx)
    assert_close(gx, dz)


@many
@given(st.integers(1, 20), st.integers(1, 9), st.data())
def test_a_slice_is_the_first_channels(positions: int, channels: int, data: st.DataObject) -> None:
    kept = data.draw(st.integers(0, channels), "kept")
    x = floats(np.random.default_rng(4), positions, channels)
    y = KERNELS.room((positions, kept))
    KERNELS.call("slice_channels", positions, channels, kept, x, y)
    np.testing.assert_array_equal(y, x[:, :kept])
    KERNELS.call("slice_channels", positions, channels, kept, x, x)
    np.testing.assert_array_equal(x.reshape(-1)[: y.size], y.reshape(-1))


def test_a_sample_is_widened_exactly() -> None:
    sample = np.arange(-128, 128, dtype=np.int8)
    x = KERNELS.room(256)
    KERNELS.call("widen_sample", 256, sample, np.array([1 / 64], np.float32), x)
    np.testing.assert_array_equal(x, sample / 64)


@pytest.mark.parametrize("spread", [0.01, 1.0, 30.0, 1000.0])
def test_softmax_cross_entropy(spread: float) -> None:
    generator = np.random.default_rng(8)
    for label in range(10):
        logits = floats(generator, 10) * np.float32(spread)
        loss, slope = jax.value_and_grad(lambda z, label=label: -jax.nn.log_softmax(z)[label])(double(logits))
        gradient, result = KERNELS.room(10), np.zeros(2, np.float32)
        KERNELS.call("softmax_cross_entropy", 10, logits, label, gradient, result)
        np.testing.assert_allclose(gradient, slope, rtol=RELATIVE, atol=2e-7)
        assert result[0] == pytest.approx(float(loss), rel=RELATIVE, abs=1e-6)
        assert result[1] == logits.argmax()
        KERNELS.call("softmax_cross_entropy", 10, logits, label, logits, result)
        np.testing.assert_array_equal(logits, gradient)


@many
@given(st.integers(1, 300), SEEDS)
def test_mean_squared_error(n: int, seed: int) -> None:
    generator = np.random.default_rng(seed)
    y, target = floats(generator, n), floats(generator, n)
    gradient, result = KERNELS.room(n), np.zeros(2, np.float32)
    KERNELS.call("mean_squared_error", n, y, target, gradient, result)
    error = y.astype(np.float64) - target
    np.testing.assert_allclose(gradient, 2 * error / n, rtol=RELATIVE)
    np.testing.assert_allclose(result, [(error**2).mean(), 0], rtol=RELATIVE)
    KERNELS.call("mean_squared_error", n, y, target, y, result)
    np.testing.assert_array_equal(y, gradient)


@many
@given(st.integers(1, 256), SEEDS, st.data())
def test_mean_squared_error_of_a_label(n: int, seed: int, data: st.DataObject) -> None:
    y = np.random.default_rng(seed).integers(-4, 4, n).astype(np.float32)
    label = data.draw(st.integers(0, n - 1), "label")
    gradient, result = KERNELS.room(n), np.zeros(2, np.float32)
    KERNELS.call("mean_squared_error_label", n, y, label, gradient, result)
    error = y.astype(np.float64) - (np.arange(n) == label)
    np.testing.assert_allclose(gradient, 2 * error / n, rtol=RELATIVE)
    np.testing.assert_allclose(result, [(error**2).mean(), y.argmax()], rtol=RELATIVE)
    KERNELS.call("mean_squared_error_label", n, y, label, y, result)
    np.testing.assert_array_equal(y, gradient)
