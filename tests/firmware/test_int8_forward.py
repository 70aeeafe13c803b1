"""Each int8 kernel of the forward pass is, bit for bit, the independent reference: over drawn shapes, splits of the
weights, shifts, ranges and values, the extremes included. Nothing around an output is written, and no input is.

The losses, which their headers describe by their accuracy, are compared with float64."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import reference_int8_forward as ref
from engine_targets import Argument, HostTarget
from float32_cases import pools, upsamplings
from float32_reference import Array, Axis, Conv, Pool, Upsampling
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
    all_convs,
    all_depthwise_convs,
    content,
    conv_call,
    depthwise_call,
    depthwise_shape,
    guarded,
    guarded_copy,
    logits_call,
    max_pool_call,
    pools_without_padding,
    upsample_call,
)
from numpy.typing import NDArray

KERNEL = settings(max_examples=60, deadline=None, derandomize=True)
SEEDS = st.integers(0, 2**32 - 1)
BOUNDS = st.sampled_from(RANGES)
LARGEST_LOGIT = 2**30 - 1

HOST = HostTarget("int8-forward", SOURCES)


def run(call: Call, *outputs: Argument) -> int:
    """Calls a kernel, which writes into no other array than these."""
    name, arguments = call
    inputs = [a for a in arguments if isinstance(a, np.ndarray) and not any(a is output for output in outputs)]
    before = [a.copy() for a in inputs]
    returned = HOST.call(name, *arguments)
    for array, old in zip(inputs, before, strict=True):
        np.testing.assert_array_equal(array, old, err_msg=f"{name} writes an input")
    return returned


def written(call: Call, shape: tuple[int, ...]) -> Array:
    """What a call writes into its last argument."""
    run(call, call[1][-1])
    return content(call[1][-1], int(np.prod(shape))).reshape(shape)


def array(argument: Argument) -> NDArray[Any]:
    assert isinstance(argument, np.ndarray)
    return argument


def check_scratch(conv: Conv, call: Call, index: int) -> None:
    """The call uses as much scratch as conv2d_scratch says, and none where a window is read in x."""
    scratch = call[1][index]
    used = run(call, scratch, call[1][-1])
    assert used == (0 if scratch is None else conv.rows.kernel * conv.columns.kernel * conv.in_c)
    if scratch is not None:
        content(scratch, used)


@given(conv=all_convs(), seed=SEEDS, bounds=BOUNDS, data=st.data())
@KERNEL
def test_conv2d(conv: Conv, seed: int, bounds: Array, data: st.DataObject) -> None:
    trained_in = data.draw(st.integers(0, conv.group_in), "trained_in")
    generator = np.random.default_rng(seed)
    w = int8s(generator, *conv.w_shape)
    call = conv_call(generator, conv, w, trained_in, bounds)
    _, x, _, _, _, bias, shifts, *_ = call[1]
    check_scratch(conv, call, 8)
    expected = ref.requantised(ref.conv_sums(conv, array(x), w, array(bias)), array(shifts), bounds)
    np.testing.assert_array_equal(content(call[1][-1], expected.size).reshape(expected.shape), expected)


@given(conv=all_convs(), seed=SEEDS, data=st.data())
@KERNEL
def test_conv2d_logits(conv: Conv, seed: int, data: st.DataObject) -> None:
    trained_in = data.draw(st.integers(0, conv.group_in), "trained_in")
    generator = np.random.default_rng(seed)
    w = int8s(generator, *conv.w_shape)
    call = logits_call(generator, conv, w, trained_in)
    _, x, _, _, _, bias, *_ = call[1]
    check_scratch(conv, call, 6)
    expected = ref.conv_sums(conv, array(x), w, array(bias))
    np.testing.assert_array_equal(content(call[1][-1], expected.size).reshape(expected.shape), expected)


@given(conv=all_depthwise_convs(), seed=SEEDS, bounds=BOUNDS, data=st.data())
@KERNEL
def test_depthwise2d(conv: Conv, seed: int, bounds: Array, data: st.DataObject) -> None:
    trained_in = data.draw(st.integers(0, conv.in_c), "trained_in")
    generator = np.random.default_rng(seed)
    w = int8s(generator, *depthwise_shape(conv))
    call = depthwise_call(generator, conv, w, trained_in, bounds)
    _, x, _, _, _, bias, shifts, *_ = call[1]
    expected = ref.requantised(ref.depthwise_sums(conv, array(x), w, array(bias)), array(shifts), bounds)
    np.testing.assert_array_equal(written(call, conv.y_shape), expected)


LONGEST = Axis(181, 1, 181, 181, 0)


@pytest.mark.parametrize("sign", [-1, 1])
@pytest.mark.parametrize("conv", [Conv(Axis(1, 1, 1, 1, 0), Axis(1, 1, 1, 1, 0), 2**15, 1, 1),
                                  Conv(LONGEST, LONGEST, 1, 1, 1)], ids=["channels", "taps"])  # fmt: skip
def test_the_longest_sums_fit(conv: Conv, sign: int) -> None:
    """2^15 products, as conv2d.hpp allows (181^2 is a little less), all at their extremes, and the largest bias."""
    x, w = np.full(conv.x_shape, -128, np.int8), np.full(conv.w_shape, -128 if sign > 0 else 127, np.int8)
    bias = ints(sign * 2**29)
    sums = ref.conv_sums(conv, x, w, bias)
    assert 2**29 - 2**23 < sign * int(sums[0, 0, 0]) < 2**30
    arguments: list[Argument] = [conv.fields, x, w, None, conv.in_c, bias]
    logits: Call = ("conv2d_logits", [*arguments, None, guarded(1, np.int32)])
    np.testing.assert_array_equal(written(logits, (1, 1, 1)), sums)
    for shift in (0, 22, 23, 29, 30):
        arguments[6:] = [np.array([shift], np.int8), LINEAR]
        calls: list[Call] = [("conv2d", [*arguments, None, guarded(1)])]
        if conv.in_c == 1:
            calls.append(("depthwise2d", [*arguments, guarded(1)]))
        for call in calls:
            np.testing.assert_array_equal(written(call, (1, 1, 1)), ref.requantised(sums, shift, LINEAR))


def test_a_kernel_as_large_as_its_input_may_still_leave_it() -> None:
    """Two outputs of which the second reads one column behind the input: zeros, not what lies there in memory."""
    conv = Conv(Axis(1, 1, 1, 1, 0), Axis(2, 2, 2, 1, 0), 1, 1, 1)
    behind = np.array([1, 2, 100, 100], np.int8)
    scratch, y = guarded(2), guarded(2, np.int32)
    run(("conv2d_logits", [conv.fields, behind[:2], np.ones(2, np.int8), None, 1, ints(0), scratch, y]), scratch, y)
    np.testing.assert_array_equal(content(y, 2), [3, 2])


@given(n=st.integers(1, 40), seed=SEEDS, lefts=st.tuples(st.integers(0, 15), st.integers(0, 15)),
       right=st.integers(0, 22), bounds=BOUNDS, place=st.sampled_from(["apart", "a", "b"]))  # fmt: skip
@KERNEL
def test_add(n: int, seed: int, lefts: tuple[int, int], right: int, bounds: Array, place: str) -> None:
    """Also in the place of either term."""
    generator = np.random.default_rng(seed)
    a, b = (int8s(generator, n) for _ in range(2))
    expected = ref.requantised(ref.added(a, b, lefts), right, bounds)
    y = {"apart": guarded(n), "a": guarded_copy(a), "b": guarded_copy(b)}[place]
    a, b = y if place == "a" else a, y if place == "b" else b
    call: Call = ("add", [n, a, b, np.array([*lefts, right], np.int8), bounds, y])
    np.testing.assert_array_equal(written(call, (n,)), expected)


@given(pool=pools(), seed=SEEDS, lift=st.integers(0, 7))
@KERNEL
def test_avg_pool(pool: Pool, seed: int, lift: int) -> None:
    x = int8s(np.random.default_rng(seed), *pool.x_shape)
    call: Call = ("avg_pool", [pool.fields, x, lift, guarded(int(np.prod(pool.y_shape)))])
    np.testing.assert_array_equal(written(call, pool.y_shape), ref.avg_pool(pool, x, lift))


@pytest.mark.parametrize("side", [1, 2, 3, 7, 28, 101, 256])
@pytest.mark.parametrize("value", [-128, -127, -1, 1, 127])
def test_the_average_of_equal_values_is_that_value(side: int, value: int) -> None:
    """Though 1 / taps is rounded; up to the largest window, 2^16 taps."""
    everything = Axis(side, 1, side, side, 0)
    pool = Pool(everything, everything, 1)
    for lift in (0, 7):
        call: Call = ("avg_pool", [pool.fields, np.full(pool.x_shape, value, np.int8), lift, guarded(1)])
        assert written(call, (1,))[0] == np.clip(value * 2**lift, -128, 127)


@given(pool=st.one_of(pools(), st.just(Pool(Axis(16, 1, 16, 16, 0), Axis(16, 1, 16, 16, 0), 3))), seed=SEEDS,
       winners=st.booleans())  # fmt: skip
@KERNEL
def test_max_pool(pool: Pool, seed: int, winners: bool) -> None:
    """Winners of up to 256 taps, or none asked for."""
    _, (fields, x, y, packed) = max_pool_call(np.random.default_rng(seed), pool)
    returned = run(("max_pool", [fields, x, y, packed if winners else None]), y, packed)
    check_max_pool(pool, array(x), content(y, int(np.prod(pool.y_shape))), packed if winners else None)
    assert returned == array(packed).size - 8, "bytes of winners"


@pytest.mark.parametrize("winner", [0, 1, 254, 255])
def test_any_of_256_taps_may_win(winner: int) -> None:
    """The first of equals: all before it are the smallest value there is, all behind it are as large."""
    pool = Pool(Axis(16, 1, 16, 16, 0), Axis(16, 1, 16, 16, 0), 1)
    for value in (-127, 127):
        x, y, packed = np.full(256, -128, np.int8), guarded(1), guarded(1, np.uint8)
        x[winner:] = value
        HOST.call("max_pool", pool.fields, x, y, packed)
        assert (content(y, 1)[0], content(packed, 1)[0]) == (value, winner)


def check_max_pool(pool: Pool, x: Array, y: Array, winners: Argument) -> None:
    expected, expected_winners = ref.max_pool(pool, x)
    np.testing.assert_array_equal(y, expected.reshape(-1))
    if winners is not None:
        np.testing.assert_array_equal(content(winners, expected_winners.size), expected_winners)


@given(pool=pools_without_padding(), seed=SEEDS)
@KERNEL
def test_max_pool_in_place(pool: Pool, seed: int) -> None:
    """Without padding, y may begin where x begins; what lies behind the end of y stays."""
    _, (fields, x, _, winners) = max_pool_call(np.random.default_rng(seed), pool)
    before, y, size = array(x), guarded_copy(array(x)), int(np.prod(pool.y_shape))
    run(("max_pool", [fields, y, y, winners]), y, winners)
    check_max_pool(pool, before, content(y, before.size)[:size], winners)
    np.testing.assert_array_equal(y[size : before.size], before.reshape(-1)[size:])


@given(shape=upsamplings(), seed=SEEDS)
@KERNEL
def test_upsample(shape: Upsampling, seed: int) -> None:
    call = upsample_call(np.random.default_rng(seed), shape)
    np.testing.assert_array_equal(written(call, shape.y_shape), shape.numpy(array(call[1][1])))


@given(n=st.integers(1, 40), seed=SEEDS, bounds=BOUNDS)
@KERNEL
def test_pack_gate(n: int, seed: int, bounds: Array) -> None:
    """Bits behind the last are 0."""
    y = np.clip(int8s(np.random.default_rng(seed), n), *bounds).astype(np.int8)
    expected = ref.gate(y, bounds)
    np.testing.assert_array_equal(written(("pack_gate", [n, y, bounds, guarded(expected.size, np.uint8)]),
                                          expected.shape), expected)  # fmt: skip


@pytest.mark.parametrize(("bounds", "opened"), [(LINEAR, range(-127, 128)), (RELU, range(1, 128)),
                                                (RELU6, range(1, 96))])  # fmt: skip
def test_a_gate_is_open_strictly_between_the_bounds(bounds: Array, opened: range) -> None:
    """But 127 is no bound: behind a ReLU it passes."""
    values = np.arange(256).astype(np.int8)
    bits = written(("pack_gate", [256, values, bounds, guarded(32, np.uint8)]), (32,))
    assert sorted(values[np.unpackbits(bits, bitorder="little") == 1]) == list(opened)


@given(positions=st.integers(1, 20), channels=st.integers(1, 9), seed=SEEDS, in_place=st.booleans(), data=st.data())
@KERNEL
def test_slice_channels(positions: int, channels: int, seed: int, in_place: bool, data: st.DataObject) -> None:
    kept = data.draw(st.integers(1, channels))
    x = int8s(np.random.default_rng(seed), positions, channels)
    expected = x[:, :kept].reshape(-1)
    y = guarded_copy(x) if in_place else guarded(expected.size)
    run(("slice_channels", [positions, channels, kept, y if in_place else x, y]), y)
    room = content(y, x.size if in_place else expected.size)
    np.testing.assert_array_equal(room[: expected.size], expected)
    np.testing.assert_array_equal(room[expected.size :], x.reshape(-1)[expected.size : room.size])


def test_widen() -> None:
    x = np.arange(256).astype(np.int8)
    np.testing.assert_array_equal(written(("widen", [256, x, guarded(256, np.int32)]), (256,)), x)
    assert written(("widen", [1, x[255:], guarded(1, np.int32)]), (1,)) == -1


# --- losses ---

P_ERROR = 1.5 * 2**-14
"""Of a probability: measured up to 1.39 * 2^-14 at two equal ones, a little above what the header says."""


@dataclass
class Found:
    """What a loss kernel returns and writes; the gradient in real units."""

    value: float
    unit: float
    predicted: int
    stored: NDArray[np.int8]

    @property
    def gradient(self) -> Array:
        return self.stored * self.unit

    @property
    def largest(self) -> int:
        return int(np.abs(self.stored.astype(np.int64)).max())


def loss_of(name: str, n: int, *arguments: Argument, writes: Argument = None) -> Found:
    """Runs a loss; without room for a gradient it returns the same, but for that one's exponent."""
    gradient, result, silent = guarded(n), guarded(3, np.int32), guarded(3, np.int32)
    kept = None if writes is None else array(writes).copy()
    run((name, [n, *arguments, gradient, result]), writes, gradient, result)
    if kept is not None:
        array(writes)[...] = kept
    run((name, [n, *arguments, None, silent]), writes, silent)
    value, exponent, predicted = (int(v) for v in content(result, 3))
    assert (value, predicted) == (silent[0], silent[2])
    return Found(value % 2**32 / 65536, 2.0**-exponent, predicted, content(gradient, n))


def check_gradient(found: Found, slope: Array, error: float) -> None:
    """Rounded to the unit, after an error of the maths; what is above 127 units, at most 128, is stored as 127."""
    assert np.abs(slope).max() <= 128 * found.unit + error
    exact = np.clip(slope, -127 * found.unit, 127 * found.unit)
    assert np.abs(found.gradient - exact).max() <= found.unit / 2 + error


def softmax_of(logits: Array, exponent: int, label: int) -> Found:
    """With the logits as scratch; with other scratch, the logits stay and the result is the same."""
    n, room, apart = len(logits), guarded_copy(logits), guarded(len(logits), np.uint32)
    there = loss_of("softmax_cross_entropy", n, logits, exponent, label, apart, writes=apart)
    here = loss_of("softmax_cross_entropy", n, room, exponent, label, room, writes=room)
    content(apart, n)
    content(room, n)
    np.testing.assert_array_equal(here.stored, there.stored)
    assert (here.value, here.unit, here.predicted) == (there.value, there.unit, there.predicted)
    return here


def check_softmax(logits: Array, exponent: int, label: int) -> None:
    found, exact = softmax_of(logits, exponent, label), ref.softmax_cross_entropy(logits, exponent, label)
    assert found.predicted == logits.argmax()
    if exact.value < 2**15:
        assert found.value == pytest.approx(exact.value, abs=2**-12)
    else:
        assert found.value >= 2**15, "a loss saturates and does not wrap"
    check_gradient(found, exact.slope, P_ERROR)
    assert found.largest >= 64 or found.unit == 2**-16, "all seven bits are used"


@given(classes=st.integers(1, 256), seed=SEEDS, exponent=st.integers(0, 30), log_spread=st.floats(-7, 16),
       data=st.data())  # fmt: skip
@KERNEL
def test_softmax_cross_entropy(classes: int, seed: int, exponent: int, log_spread: float, data: st.DataObject) -> None:
    label = data.draw(st.integers(0, classes - 1), "label")
    real = np.random.default_rng(seed).normal(0, 2.0 ** (log_spread + exponent), classes)
    check_softmax(np.clip(np.rint(real), -LARGEST_LOGIT, LARGEST_LOGIT).astype(np.int32), exponent, label)


@pytest.mark.parametrize("exponent", [0, 12, 15, 16, 30])
@pytest.mark.parametrize("classes", [1, 2, 10, 256])
def test_softmax_of_extreme_logits(classes: int, exponent: int) -> None:
    """All equal; one that excels; one that falls behind; halves at either end."""
    high, low = np.full(classes, LARGEST_LOGIT, np.int32), np.full(classes, -LARGEST_LOGIT, np.int32)
    first = np.arange(classes) == 0
    even = np.arange(classes) % 2 == 0
    for logits in (high, low, np.where(first, high, low), np.where(first, low, high), np.where(even, low, high)):
        for label in {0, classes - 1}:
            check_softmax(logits, exponent, label)


def test_softmax_of_two_logits_at_any_distance() -> None:
    """All of both tables: logits up to 17 nats apart."""
    for distance in range(0, 17 * 2**16, 601):
        check_softmax(ints(-distance, 0), 16, distance % 2)


@given(classes=st.integers(2, 40), seed=SEEDS, exponent=st.integers(0, 20), moved=st.integers(-(2**28), 2**28))
@KERNEL
def test_softmax_sees_differences_alone(classes: int, seed: int, exponent: int, moved: int) -> None:
    real = np.random.default_rng(seed).normal(0, 2.0**exponent, classes)
    logits = np.rint(real).astype(np.int32)
    one, other = softmax_of(logits, exponent, 0), softmax_of(logits + np.int32(moved), exponent, 0)
    np.testing.assert_array_equal(one.stored, other.stored)
    assert (one.value, one.unit, one.predicted) == (other.value, other.unit, other.predicted)


def check_squares(found: Found, y: Array, target: Array) -> None:
    """The difference is rounded to Q16, for the loss to Q12; 8 - 2^-12 is the largest of those. 2 / n has 15 bits."""
    exact, n = ref.mean_squared_error(y, target), len(y)
    distance = np.minimum(np.abs(y - target), 8)
    rounding = 2 * float(distance.mean()) * 2**-12 + exact.value * 2**-15 + 2**-14
    assert found.value == pytest.approx(exact.value, abs=rounding)
    check_gradient(found, exact.slope, np.abs(exact.slope).max() * 2**-14 + 2 / n * 2**-17)
    assert found.largest >= 63 or np.abs(y - target).max() < 2**-8, "all seven bits are used"


def outputs(real: Array, exponent: int) -> NDArray[np.int32]:
    return np.clip(np.rint(real * 2.0**exponent), -LARGEST_LOGIT, LARGEST_LOGIT).astype(np.int32)


@given(n=st.integers(1, 1024), seed=SEEDS, exponent=st.integers(0, 30), target_exponent=st.integers(0, 16),
       log_spread=st.floats(-12, 6))  # fmt: skip
@KERNEL
def test_mean_squared_error(n: int, seed: int, exponent: int, target_exponent: int, log_spread: float) -> None:
    generator = np.random.default_rng(seed)
    target = int8s(generator, n)
    real_target = target * 2.0**-target_exponent
    real = np.clip(real_target + generator.normal(0, 2.0**log_spread, n), -128, 128)
    y = outputs(real, exponent)
    found = loss_of("mean_squared_error", n, y, exponent, target, target_exponent)
    check_squares(found, y * 2.0**-exponent, real_target)
    assert found.predicted == 0


@given(n=st.integers(1, 256), seed=SEEDS, exponent=st.integers(0, 30), log_spread=st.floats(-12, 5), data=st.data())
@KERNEL
def test_mean_squared_error_of_a_label(
    n: int, seed: int, exponent: int, log_spread: float, data: st.DataObject
) -> None:
    label = data.draw(st.integers(0, n - 1), "label")
    real = np.random.default_rng(seed).normal(0.2, 2.0**log_spread, n)
    y = outputs(np.clip(real, -127, 127), exponent)
    found = loss_of("mean_squared_error_label", n, y, exponent, label)
    check_squares(found, y * 2.0**-exponent, ref.one_hot(n, label))
    assert found.predicted == y.argmax()


@pytest.mark.parametrize("sign", [-1, 1])
@pytest.mark.parametrize("exponent", [0, 15, 16, 22])
def test_the_largest_squared_errors_fit(sign: int, exponent: int) -> None:
    """1024 differences, each clipped to +-128, and to +-8 for the loss: their sum needs all of 32 bits."""
    y = np.full(1024, sign * LARGEST_LOGIT, np.int32)
    found = loss_of("mean_squared_error", 1024, y, exponent, np.zeros(1024, np.int8), 0)
    check_squares(found, y * 2.0**-exponent, np.zeros(1024))


@pytest.mark.parametrize("exponent", [0, 16, 29])
def test_no_error_has_no_gradient(exponent: int) -> None:
    target = np.array([1, 0, -1], np.int8)
    found = loss_of("mean_squared_error", 3, target * np.int32(2**exponent), exponent, target, 0)
    assert found.value == 0
    assert not found.stored.any()
