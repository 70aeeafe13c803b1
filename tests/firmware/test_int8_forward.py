"""Each int8 kernel of the forward pass is, bit for bit, what its header says, in 64-bit integers of plain numpy.

Over drawn shapes, splits of the weights, shifts, ranges and values, the extremes included; nothing behind an output is
written. The losses, which their headers describe by their accuracy, are compared with float64.
"""

from __future__ import annotations

import numpy as np
import pytest
from engine_targets import HostTarget
from float32_cases import convs, depthwise_convs, pools, upsamplings
from float32_reference import Array, Axis, Conv, Pool, Upsampling, packed, windows
from hypothesis import given, settings
from hypothesis import strategies as st
from int8_backward_cases import int8s, ints
from int8_forward_cases import (
    LINEAR,
    RANGES,
    RELU,
    RELU6,
    SOURCES,
    Call,
    conv_call,
    depthwise_call,
    guarded,
    logits_call,
    max_pool_call,
    upsample_call,
)
from reference_int8_backward import Int, round_half_up, wide

KERNEL = settings(max_examples=60, deadline=None, derandomize=True)
SEEDS = st.integers(0, 2**32 - 1)
BOUNDS = st.sampled_from(RANGES)

HOST = HostTarget("int8-forward", SOURCES)


def output(call: Call, shape: tuple[int, ...], index: int = -1) -> Array:
    """Runs a call and returns what it wrote; the guard behind is untouched."""
    name, arguments = call
    HOST.call(name, *arguments)
    written = arguments[index]
    assert isinstance(written, np.ndarray)
    size = int(np.prod(shape))
    assert (written[size:] == 85).all(), "written behind the end"
    return written[:size].reshape(shape)


def requantised(sums: Int, shifts: Array, bounds: Array) -> Int:
    return np.clip(round_half_up(sums, wide(shifts)), *bounds)


def conv_sums(conv: Conv, call: Call) -> Int:
    """Of a whole layer, trained and frozen weights put together; the bias is rounded to the sums' unit."""
    _, x, trained, frozen, _, bias, *_ = call[1]
    parts = [part for part in (trained, frozen) if isinstance(part, np.ndarray)]
    assert isinstance(x, np.ndarray)
    assert isinstance(bias, np.ndarray)
    w, in_sums = wide(np.concatenate(parts, axis=-1)), round_half_up(wide(bias), 8)
    under = wide(windows(conv.rows, conv.columns, x))
    if conv.groups == conv.in_c == conv.out_c and w.ndim == 3:
        return np.asarray(np.einsum("yxhwc,hwc->yxc", under, w) + in_sums)
    grouped = under.reshape(*under.shape[:4], conv.groups, conv.group_in)
    sums = np.einsum("yxhwgi,gohwi->yxgo", grouped, w.reshape(conv.groups, -1, *w.shape[1:]))
    return np.asarray(sums.reshape(conv.y_shape) + in_sums)


@given(conv=convs(), seed=SEEDS, bounds=BOUNDS, data=st.data())
@KERNEL
def test_conv2d(conv: Conv, seed: int, bounds: Array, data: st.DataObject) -> None:
    trained_in = data.draw(st.integers(0, conv.group_in), "trained_in")
    call = conv_call(np.random.default_rng(seed), conv, trained_in, bounds)
    shifts = call[1][6]
    assert isinstance(shifts, np.ndarray)
    np.testing.assert_array_equal(output(call, conv.y_shape), requantised(conv_sums(conv, call), shifts, bounds))


@given(conv=convs(), seed=SEEDS, data=st.data())
@KERNEL
def test_conv2d_logits(conv: Conv, seed: int, data: st.DataObject) -> None:
    trained_in = data.draw(st.integers(0, conv.group_in), "trained_in")
    call = logits_call(np.random.default_rng(seed), conv, trained_in)
    np.testing.assert_array_equal(output(call, conv.y_shape), conv_sums(conv, call))


@given(conv=depthwise_convs(), seed=SEEDS, bounds=BOUNDS, data=st.data())
@KERNEL
def test_depthwise2d(conv: Conv, seed: int, bounds: Array, data: st.DataObject) -> None:
    trained_in = data.draw(st.integers(0, conv.in_c), "trained_in")
    call = depthwise_call(np.random.default_rng(seed), conv, trained_in, bounds)
    shifts = call[1][6]
    assert isinstance(shifts, np.ndarray)
    np.testing.assert_array_equal(output(call, conv.y_shape), requantised(conv_sums(conv, call), shifts, bounds))


def test_a_kernel_as_large_as_its_input_may_still_leave_it() -> None:
    """Two outputs of which the second reads one column behind the input: zeros, not what lies there in memory."""
    conv = Conv(Axis(1, 1, 1, 1, 0), Axis(2, 2, 2, 1, 0), 1, 1, 1)
    behind = np.array([1, 2, 100, 100], np.int8)
    call: Call = ("conv2d_logits", [conv.fields, behind[:2], np.ones(2, np.int8), None, 1, ints(0), guarded(2),
                                    guarded(2, np.int32)])  # fmt: skip
    np.testing.assert_array_equal(output(call, (2,)), [3, 2])


@given(n=st.integers(1, 40), seed=SEEDS, lefts=st.tuples(st.integers(0, 15), st.integers(0, 15)),
       right=st.integers(0, 22), bounds=BOUNDS, place=st.sampled_from(["apart", "a", "b"]))  # fmt: skip
@KERNEL
def test_add(n: int, seed: int, lefts: tuple[int, int], right: int, bounds: Array, place: str) -> None:
    generator = np.random.default_rng(seed)
    a, b = (np.append(int8s(generator, n), np.full(8, 85, np.int8)) for _ in range(2))
    sums = (wide(a[:n]) << lefts[0]) + (wide(b[:n]) << lefts[1])
    y = {"apart": guarded(n), "a": a, "b": b}[place]
    found = output(("add", [n, a, b, np.array([*lefts, right], np.int8), bounds, y]), (n,))
    np.testing.assert_array_equal(found, requantised(sums, np.array(right), bounds))


@given(pool=pools(), seed=SEEDS, lift=st.integers(0, 7))
@KERNEL
def test_avg_pool(pool: Pool, seed: int, lift: int) -> None:
    x = int8s(np.random.default_rng(seed), *pool.x_shape)
    sums = wide(windows(pool.rows, pool.columns, x)).sum(axis=(2, 3))
    share = (2**24 // pool.taps + 1) // 2
    found = output(("avg_pool", [pool.fields, x, lift, guarded(int(np.prod(pool.y_shape)))]), pool.y_shape)
    expected = np.clip(round_half_up(sums * share, 23 - lift), -128, 127)
    np.testing.assert_array_equal(found, expected)
    assert (np.abs(found - np.clip(sums / pool.taps * 2**lift, -128, 127)) <= 0.51).all(), "the mean itself, rounded"


@given(pool=pools(), seed=SEEDS, kept=st.booleans())
@KERNEL
def test_max_pool(pool: Pool, seed: int, kept: bool) -> None:
    call = max_pool_call(np.random.default_rng(seed), pool)
    x = call[1][1]
    assert isinstance(x, np.ndarray)
    expected = windows(pool.rows, pool.columns, x.astype(np.float64), -np.inf).max(axis=(2, 3))
    if not kept:
        call[1][3] = None
    np.testing.assert_array_equal(output(call, pool.y_shape, 2), expected)
    if kept:
        bits = 2 if pool.taps <= 4 else 4 if pool.taps <= 16 else 8
        winners = packed(pool.winners(x), bits)
        written = call[1][3]
        assert isinstance(written, np.ndarray)
        np.testing.assert_array_equal(written[: winners.size], winners)
        assert (written[winners.size :] == 85).all()


@given(pool=pools(), seed=SEEDS)
@KERNEL
def test_max_pool_in_place(pool: Pool, seed: int) -> None:
    """Without padding, y may begin where x begins."""
    if pool.rows.pad or pool.columns.pad:
        return
    x = int8s(np.random.default_rng(seed), *pool.x_shape)
    apart = guarded(int(np.prod(pool.y_shape)))
    HOST.call("max_pool", pool.fields, x, apart, None)
    HOST.call("max_pool", pool.fields, x, x, None)
    size = int(np.prod(pool.y_shape))
    np.testing.assert_array_equal(x.reshape(-1)[:size], apart[:size])


@given(shape=upsamplings(), seed=SEEDS)
@KERNEL
def test_upsample(shape: Upsampling, seed: int) -> None:
    call = upsample_call(np.random.default_rng(seed), shape)
    x = call[1][1]
    assert isinstance(x, np.ndarray)
    np.testing.assert_array_equal(output(call, shape.y_shape), shape.numpy(x))


@pytest.mark.parametrize(("bounds", "opened"), [(LINEAR, 255), (RELU, 127), (RELU6, 95)])
def test_a_gate_is_open_strictly_between_the_bounds(bounds: Array, opened: int) -> None:
    """A bound of the number format is none: 127 behind a ReLU, and both of a linear output but -128."""
    y = np.arange(-128, 128, dtype=np.int16).astype(np.int8)
    bits = output(("pack_gate", [256, y, bounds, guarded(32, np.uint8)]), (32,))
    is_open = np.unpackbits(bits.astype(np.uint8), bitorder="little").astype(bool)
    assert is_open.sum() == opened
    low, high = bounds
    np.testing.assert_array_equal(is_open, (y > low) & ((y < high) | (high == 127)))
    short = output(("pack_gate", [11, y[200:211].copy(), bounds, guarded(2, np.uint8)]), (2,))
    assert short[1] >> 3 == 0, "bits behind the last are 0"


@given(positions=st.integers(1, 20), channels=st.integers(1, 9), seed=SEEDS, in_place=st.booleans(), data=st.data())
@KERNEL
def test_slice_channels(positions: int, channels: int, seed: int, in_place: bool, data: st.DataObject) -> None:
    kept = data.draw(st.integers(1, channels))
    x = int8s(np.random.default_rng(seed), positions, channels)
    expected = x[:, :kept].copy()
    y = x.reshape(-1) if in_place else guarded(positions * kept)
    HOST.call("slice_channels", positions, channels, kept, x, y)
    np.testing.assert_array_equal(y[: expected.size], expected.reshape(-1))


def test_widen() -> None:
    x = np.arange(-128, 128).astype(np.int8)
    np.testing.assert_array_equal(output(("widen", [256, x, guarded(256, np.int32)]), (256,)), x)


# --- losses ---


def stored_error(gradient: Array, slope: Array, unit: float) -> float:
    """The largest error; what is a little more than 127 units is stored as 127."""
    return float(np.abs(gradient * unit - np.clip(slope, -127 * unit, 127 * unit)).max())


def softmax(logits: Array, exponent: int) -> Array:
    z = logits.astype(np.float64) * 2.0**-exponent
    powers = np.exp(z - z.max())
    return powers / powers.sum()


@given(classes=st.integers(2, 256), seed=SEEDS, exponent=st.integers(0, 30), spread=st.floats(0.01, 40), data=st.data())
@KERNEL
def test_softmax_cross_entropy(classes: int, seed: int, exponent: int, spread: float, data: st.DataObject) -> None:
    generator = np.random.default_rng(seed)
    label = data.draw(st.integers(0, min(classes, 256) - 1))
    real = generator.normal(0, spread, classes) * 2.0**exponent
    logits = np.clip(np.rint(real), -(2**30) + 1, 2**30 - 1).astype(np.int32)
    gradient, result = guarded(classes), np.zeros(3, np.int32)
    best = int(logits.argmax())
    p = softmax(logits, exponent)
    exact = -np.log(p[label]) if p[label] > 0 else np.inf
    HOST.call("softmax_cross_entropy", classes, logits, exponent, label, logits.view(np.uint32), gradient, result)

    assert result[2] == best
    if exact < 15:  # distances are kept to 16 nats
        assert int(result[0]) / 65536 == pytest.approx(exact, abs=2**-11)
    slope = p - (np.arange(classes) == label)
    unit = 2.0 ** -float(result[1])
    assert stored_error(gradient[:classes], slope, unit) <= unit / 2 + 2**-13
    largest = np.abs(gradient[:classes].astype(np.int64)).max()
    assert largest >= 63 or np.abs(slope).max() < 2**-9, "all seven bits are used"
    assert (gradient[classes:] == 85).all()


@pytest.mark.parametrize("logits", [[2**30 - 1, -(2**30) + 1], [0, 0], [-(2**30) + 1] * 2])
@pytest.mark.parametrize("exponent", [0, 12, 30])
def test_extreme_logits_give_finite_losses(logits: list[int], exponent: int) -> None:
    for label in (0, 1):
        values, gradient, result = ints(*logits), guarded(2), np.zeros(3, np.int32)
        HOST.call("softmax_cross_entropy", 2, values, exponent, label, values.view(np.uint32), gradient, result)
        assert np.abs(gradient[:2].astype(np.int64)).max() <= 127
        assert gradient[label] <= 0


@given(n=st.integers(1, 1024), seed=SEEDS, exponent=st.integers(4, 30), target_exponent=st.integers(0, 16))
@KERNEL
def test_mean_squared_error(n: int, seed: int, exponent: int, target_exponent: int) -> None:
    generator = np.random.default_rng(seed)
    target = int8s(generator, n)
    t = target * 2.0**-target_exponent
    real = np.clip(t + generator.normal(0, 0.7, n), -(2.0 ** (29 - exponent)), 2.0 ** (29 - exponent))
    y = np.rint(real * 2.0**exponent).astype(np.int32)
    gradient, result = guarded(n), np.zeros(3, np.int32)
    HOST.call("mean_squared_error", n, y, exponent, target, target_exponent, gradient, result)
    difference = np.clip(y * 2.0**-exponent, -128, 128) - t
    check_squares(difference, gradient, result)


@given(n=st.integers(2, 255), seed=SEEDS, exponent=st.integers(4, 30), data=st.data())
@KERNEL
def test_mean_squared_error_of_a_label(n: int, seed: int, exponent: int, data: st.DataObject) -> None:
    label = data.draw(st.integers(0, n - 1))
    real = np.clip(np.random.default_rng(seed).normal(0.2, 0.5, n), -(2.0 ** (29 - exponent)), 2.0 ** (29 - exponent))
    y = np.rint(real * 2.0**exponent).astype(np.int32)
    gradient, result = guarded(n), np.zeros(3, np.int32)
    HOST.call("mean_squared_error_label", n, y, exponent, label, gradient, result)
    assert result[2] == y.argmax()
    check_squares(y * 2.0**-exponent - (np.arange(n) == label), gradient, result)


def check_squares(difference: Array, gradient: Array, result: Array) -> None:
    n = len(difference)
    clipped = np.clip(difference, -8, 8)
    assert int(np.uint32(result[0])) / 65536 == pytest.approx(np.mean(clipped**2), rel=2**-8, abs=2**-9)
    slope = 2 * np.clip(difference, -128, 128) / n
    unit = 2.0 ** -float(result[1])
    limit = 0.51 * unit + np.abs(slope).max() * 2**-14 + 2 * 2**-16 / n
    assert stored_error(gradient[:n], slope, unit) <= limit
    assert (gradient[n:] == 85).all()
