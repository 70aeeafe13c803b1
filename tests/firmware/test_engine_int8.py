"""Each int8 kernel is, bit for bit, the independent reference: over drawn shapes, strides, pads, scales and values."""

from __future__ import annotations

import math

import numpy as np
import pytest
import reference as ref
from engine_targets import HostTarget
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

KERNEL = settings(max_examples=80, deadline=None, derandomize=True)


@pytest.fixture(scope="module")
def host() -> HostTarget:
    return HostTarget("demo_int8")


@st.composite
def convolutions(draw: st.DrawFn) -> ref.Conv:
    kernel_h, kernel_w, stride = draw(st.integers(1, 4)), draw(st.integers(1, 4)), draw(st.integers(1, 3))
    pad = draw(st.integers(0, min(kernel_h, kernel_w) - 1))
    in_h = draw(st.integers(max(1, kernel_h - 2 * pad), 9))
    in_w = draw(st.integers(max(1, kernel_w - 2 * pad), 9))
    return ref.Conv(in_h, in_w, draw(st.integers(1, 7)), draw(st.integers(1, 9)), kernel_h, kernel_w, stride, pad)


seeds = st.integers(0, 2**32 - 1)
rates = st.integers(1, 2**17)
exponents = st.integers(0, 12)


def shape_of(conv: ref.Conv) -> NDArray[np.int32]:
    return np.array(conv.fields, np.int32)


def int8s(generator: np.random.Generator, *shape: int) -> NDArray[np.int8]:
    """Of one of four kinds: any value, the extremes, small values, mostly zero."""
    kind = int(generator.integers(4))
    if kind == 0:
        return generator.integers(-128, 128, shape, np.int8)
    if kind == 1:
        return generator.choice(np.array([-128, -127, 127], np.int8), shape)
    if kind == 2:
        return generator.integers(-3, 4, shape, np.int8)
    return (generator.integers(-128, 128, shape, np.int8) * (generator.random(shape) < 0.1)).astype(np.int8)


def biases(generator: np.random.Generator, size: int) -> NDArray[np.int32]:
    return generator.integers(-(2**22), 2**22, size, np.int32)


@given(conv=convolutions(), seed=seeds, shift=st.integers(0, 12), relu=st.booleans())
@KERNEL
def test_conv2d(host: HostTarget, conv: ref.Conv, seed: int, shift: int, relu: bool) -> None:
    generator = np.random.default_rng(seed)
    x = int8s(generator, conv.in_h, conv.in_w, conv.in_c)
    w = int8s(generator, conv.kernel_h, conv.kernel_w, conv.in_c, conv.out_c)
    bias = biases(generator, conv.out_c)
    y = np.zeros((conv.out_h, conv.out_w, conv.out_c), np.int8)
    assert host.call("int8_conv2d_valid", shape_of(conv)) == 1
    host.call("int8_conv2d", shape_of(conv), x, w, bias, shift, int(relu), np.zeros(w[..., 0].size, np.int8), y)
    np.testing.assert_array_equal(y, ref.activation(ref.conv_sums(conv, x, w, bias), shift, relu))


@given(conv=convolutions(), seed=seeds, masked=st.booleans(), in_place=st.booleans())
@KERNEL
def test_conv2d_input_gradient(host: HostTarget, conv: ref.Conv, seed: int, masked: bool, in_place: bool) -> None:
    generator = np.random.default_rng(seed)
    gy = int8s(generator, conv.out_h, conv.out_w, conv.out_c)
    w = int8s(generator, conv.kernel_h, conv.kernel_w, conv.in_c, conv.out_c)
    x = int8s(generator, conv.in_h, conv.in_w, conv.in_c) if masked else None
    expected, shift = ref.store_gradient(ref.conv_input_sums(conv, gy, w), x)
    gx = x if in_place and x is not None else np.full((conv.in_h, conv.in_w, conv.in_c), 99, np.int8)
    scales = np.array([9, 0, 5], np.int32)
    assert host.call("int8_conv2d_input_gradient", shape_of(conv), gy, scales, w, x, gx) == 9 + 5 - shift
    np.testing.assert_array_equal(gx, expected)


@given(conv=convolutions(), seed=seeds, rate=rates, gy_exponent=st.integers(-2, 30), x_exponent=exponents)
@KERNEL
def test_conv2d_update(
    host: HostTarget, conv: ref.Conv, seed: int, rate: int, gy_exponent: int, x_exponent: int
) -> None:
    generator = np.random.default_rng(seed)
    gy = int8s(generator, conv.out_h, conv.out_w, conv.out_c)
    x = int8s(generator, conv.in_h, conv.in_w, conv.in_c)
    q = int8s(generator, conv.kernel_h, conv.kernel_w, conv.in_c, conv.out_c)
    r = int8s(generator, *q.shape)
    expected = ref.update_weights(q, r, ref.conv_weight_sums(conv, gy, x), rate, 6 + 8 - gy_exponent - x_exponent,
                                  conv.out_h * conv.out_w, seed, 3)  # fmt: skip
    sgd = np.array([rate, seed, 0, 3], np.uint32)
    host.call("int8_conv2d_update", shape_of(conv), sgd, gy, x, np.array([gy_exponent, x_exponent, 6], np.int32), q, r)
    np.testing.assert_array_equal(q, expected[0])
    np.testing.assert_array_equal(r, expected[1])
    assert sgd[2] == expected[2]


def test_sums_too_long_for_the_multiplier_are_rounded_first(host: HostTarget) -> None:
    """A map of 48x48 outputs: accumulators of 26 bits."""
    conv = ref.Conv(48, 48, 1, 3, 1, 1, 1, 0)
    generator = np.random.default_rng(1)
    for extreme in (False, True):
        gy = np.full((48, 48, 3), -128, np.int8) if extreme else int8s(generator, 48, 48, 3)
        x = np.full((48, 48, 1), -128, np.int8) if extreme else int8s(generator, 48, 48, 1)
        q, r = np.zeros((1, 1, 1, 3), np.int8), np.zeros((1, 1, 1, 3), np.int8)
        expected = ref.update_weights(q, r, ref.conv_weight_sums(conv, gy, x), 655, 4 + 8 - 20, 48 * 48, 5, 0)
        sgd = np.array([655, 5, 0, 0], np.uint32)
        host.call("int8_conv2d_update", shape_of(conv), sgd, gy, x, np.array([20, 0, 4], np.int32), q, r)
        np.testing.assert_array_equal(q, expected[0])
        np.testing.assert_array_equal(r, expected[1])


@given(inputs=st.integers(1, 40), outputs=st.integers(1, 23), seed=seeds, shift=st.integers(0, 12), relu=st.booleans())
@KERNEL
def test_dense(host: HostTarget, inputs: int, outputs: int, seed: int, shift: int, relu: bool) -> None:
    generator = np.random.default_rng(seed)
    shape = np.array([inputs, outputs], np.int32)
    x, w, bias = int8s(generator, inputs), int8s(generator, inputs, outputs), biases(generator, outputs)
    y, logits = np.zeros(outputs, np.int8), np.zeros(outputs, np.int32)
    host.call("int8_dense", shape, x, w, bias, shift, int(relu), y)
    host.call("int8_dense_logits", shape, x, w, bias, logits)
    sums = ref.dense_sums(x, w, bias)
    np.testing.assert_array_equal(y, ref.activation(sums, shift, relu))
    np.testing.assert_array_equal(logits, sums)


@given(inputs=st.integers(1, 40), outputs=st.integers(1, 23), seed=seeds, masked=st.booleans(), in_place=st.booleans())
@KERNEL
def test_dense_input_gradient(
    host: HostTarget, inputs: int, outputs: int, seed: int, masked: bool, in_place: bool
) -> None:
    generator = np.random.default_rng(seed)
    gy, w = int8s(generator, outputs), int8s(generator, inputs, outputs)
    x = int8s(generator, inputs) if masked else None
    expected, shift = ref.store_gradient(ref.wide(w) @ ref.wide(gy), x)
    gx = x if in_place and x is not None else np.full(inputs, 99, np.int8)
    shape, scales = np.array([inputs, outputs], np.int32), np.array([-3, 0, 7], np.int32)
    assert host.call("int8_dense_input_gradient", shape, gy, scales, w, x, gx) == -3 + 7 - shift
    np.testing.assert_array_equal(gx, expected)


@given(inputs=st.integers(1, 30), outputs=st.integers(1, 12), seed=seeds, rate=rates, gy_exponent=st.integers(-4, 40),
       x_exponent=exponents)  # fmt: skip
@KERNEL
def test_dense_update(
    host: HostTarget, inputs: int, outputs: int, seed: int, rate: int, gy_exponent: int, x_exponent: int
) -> None:
    generator = np.random.default_rng(seed)
    gy, x = int8s(generator, outputs), int8s(generator, inputs)
    q, r = int8s(generator, inputs, outputs), int8s(generator, inputs, outputs)
    sums = np.outer(ref.wide(x), ref.wide(gy))
    expected = ref.update_weights(q, r, sums, rate, 7 + 8 - gy_exponent - x_exponent, 1, seed, 2)
    sgd = np.array([rate, seed, 0, 2], np.uint32)
    host.call("int8_dense_update", np.array([inputs, outputs], np.int32), sgd, gy, x,
              np.array([gy_exponent, x_exponent, 7], np.int32), q, r)  # fmt: skip
    np.testing.assert_array_equal(q, expected[0])
    np.testing.assert_array_equal(r, expected[1])
    assert sgd[2] == expected[2]


@given(positions=st.integers(1, 60), channels=st.integers(1, 9), seed=seeds, rate=rates,
       gy_exponent=st.integers(-30, 60))  # fmt: skip
@KERNEL
def test_update_bias(host: HostTarget, positions: int, channels: int, seed: int, rate: int, gy_exponent: int) -> None:
    generator = np.random.default_rng(seed)
    gy = int8s(generator, positions, channels)
    bias = generator.choice([-(2**29), -5000, 0, 77, 2**29], channels).astype(np.int32)
    expected = ref.update_bias(bias, ref.wide(gy).sum(axis=0), rate, 18 - gy_exponent, seed, 1)
    sgd = np.array([rate, seed, 0, 1], np.uint32)
    host.call("int8_update_bias", sgd, gy, np.array([gy_exponent, 18], np.int32), positions, channels, bias)
    np.testing.assert_array_equal(bias, expected[0])
    assert sgd[2] == expected[1]


@given(h=st.integers(2, 9), w=st.integers(2, 9), c=st.integers(1, 7), seed=seeds, in_place=st.booleans())
@KERNEL
def test_max_pool(host: HostTarget, h: int, w: int, c: int, seed: int, in_place: bool) -> None:
    generator = np.random.default_rng(seed)
    x = int8s(generator, h, w, c)
    pooled, winners = ref.max_pool(x)
    packed = np.full_like(winners, 0xFF)
    flat = x.reshape(-1)
    y = flat[: pooled.size] if in_place else np.zeros(pooled.size, np.int8)
    host.call("int8_max_pool", np.array([h, w, c], np.int32), flat, y, packed)
    np.testing.assert_array_equal(y.reshape(pooled.shape), pooled)
    np.testing.assert_array_equal(packed, winners)


@given(h=st.integers(2, 9), w=st.integers(2, 9), c=st.integers(1, 7), seed=seeds)
@KERNEL
def test_max_pool_gradient(host: HostTarget, h: int, w: int, c: int, seed: int) -> None:
    generator = np.random.default_rng(seed)
    gy = int8s(generator, h // 2, w // 2, c)
    winners = ref.pack_winners(generator.integers(0, 4, gy.size))
    expected = ref.max_pool_gradient(gy, winners, h, w)
    shape, room = np.array([h, w, c], np.int32), np.full(h * w * c, 99, np.int8)
    host.call("int8_max_pool_gradient", shape, gy, winners, room)
    np.testing.assert_array_equal(room.reshape(h, w, c), expected)
    if h % 2 == 0 and w % 2 == 0:  # then the pooled gradient may lie at the end of the room
        room[room.size - gy.size :] = gy.reshape(-1)
        host.call("int8_max_pool_gradient", shape, room[room.size - gy.size :], winners, room)
        np.testing.assert_array_equal(room.reshape(h, w, c), expected)


@given(classes=st.integers(1, 20), seed=seeds, exponent=st.integers(0, 20), spread=st.floats(0.01, 40.0))
@settings(max_examples=300, deadline=None, derandomize=True)
def test_softmax_cross_entropy(host: HostTarget, classes: int, seed: int, exponent: int, spread: float) -> None:
    """Within the tolerances that the header states, of exact arithmetic on the same logits."""
    generator = np.random.default_rng(seed)
    logits = np.round(generator.normal(0, spread, classes) * 2.0**exponent).clip(-(2**29), 2**29).astype(np.int32)
    label = int(generator.integers(classes))
    exact, exact_loss, predicted = ref.softmax_gradient(logits.astype(np.int64), exponent, label)
    gradient, result = np.zeros(classes, np.int8), np.zeros(3, np.int32)
    scratch = logits.view(np.uint32)  # in place, as programs do
    host.call("int8_softmax_cross_entropy", classes, logits, exponent, label, gradient, scratch, result)
    unit = 2.0 ** -int(result[1])
    error = np.abs(gradient * unit - exact)
    assert (error <= 2**-14 + np.where(np.abs(gradient) == 127, unit, unit / 2)).all()  # 127.5 to 128 is cut to 127
    assert result[0] / 65536 == pytest.approx(exact_loss, abs=2**-12 + classes * math.exp(-16))
    assert result[2] == predicted
    if np.abs(exact).max() > 2**-9:
        assert 63 <= np.abs(gradient.astype(int)).max() <= 127  # the scale uses all seven bits


def test_the_loss_saturates_and_no_gradient_may_be_asked_for(host: HostTarget) -> None:
    result, scratch = np.zeros(3, np.int32), np.zeros(2, np.uint32)
    host.call("int8_softmax_cross_entropy", 2, np.array([-(2**29), 2**29], np.int32), 0, 0, None, scratch, result)
    assert result.view(np.uint32)[0] >= 2**31 - 1
    assert result[2] == 1
    host.call("int8_softmax_cross_entropy", 2, np.array([7, 7], np.int32), 3, 1, None, scratch, result)
    assert result[0] / 65536 == pytest.approx(math.log(2), abs=1e-4)
    assert result[2] == 0, "the first of equals"


def test_a_shape_that_does_not_add_up_is_not_valid(host: HostTarget) -> None:
    good = ref.Conv(14, 14, 1, 12, 3, 3, 1, 0).fields
    assert host.call("int8_conv2d_valid", np.array(good, np.int32)) == 1
    for field in range(len(good)):
        wrong = list(good)
        wrong[field] = 0x10001 if field in (2, 5) else good[field] + 20
        assert host.call("int8_conv2d_valid", np.array(wrong, np.int32)) == 0, field
