"""Each int8 kernel of the backward pass is, bit for bit, the independent reference: over drawn shapes, splits of the
weights, gates, peaks, scales and values, the extremes included."""

from __future__ import annotations

import numpy as np
import pytest
import reference_int8_backward as ref
from engine_targets import HostTarget
from float32_cases import convs, depthwise_convs, pools, upsamplings
from float32_reference import Array, Axis, Conv, Pool, Upsampling
from hypothesis import given, settings
from hypothesis import strategies as st
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

KERNEL = settings(max_examples=60, deadline=None, derandomize=True)
SEEDS = st.integers(0, 2**32 - 1)
PEAKS = st.one_of(st.integers(0, 2**12), st.integers(0, 2**31 - 1))
RATES = st.integers(1, 2**17)

HOST = HostTarget("int8-backward", SOURCES)


def drawn_map(generator: np.random.Generator, shape: tuple[int, ...], peak: int, gated: bool) -> Map:
    return Map(shape, generator.random(shape) < 0.6 if gated else None, peak, int(generator.integers(2**32)))


def check_map(found: Map, before: int, sums: ref.Int, sums_exponent: int) -> None:
    """The map holds these sums, stored by the peak that was there before; nothing else changed."""
    expected = ref.store(sums, found.gate, before, found.seed)
    np.testing.assert_array_equal(found.values, expected.values)
    assert found.exponent == sums_exponent - expected.shift
    assert (found.peak, found.saturated) == (expected.peak, expected.clipped)


@given(conv=convs(), seed=SEEDS, peak=PEAKS, gated=st.booleans(), data=st.data())
@KERNEL
def test_conv2d_input_gradient(conv: Conv, seed: int, peak: int, gated: bool, data: st.DataObject) -> None:
    generator = np.random.default_rng(seed)
    gy, w, lift = gradients(generator, *conv.y_shape), int8s(generator, *conv.w_shape), lifts(generator, conv)
    trained_in = data.draw(st.integers(0, conv.group_in), "trained_in")
    gx = drawn_map(generator, conv.x_shape, peak, gated)
    gx.write(HOST, "conv2d_input_gradient", *conv_gradient_arguments(conv, gy, (9, 5), w, trained_in, lift))
    check_map(gx, peak, ref.conv_input_sums(conv, gy, w, lift), 9 + 5)


@given(conv=depthwise_convs(), seed=SEEDS, peak=PEAKS, gated=st.booleans(), data=st.data())
@KERNEL
def test_depthwise2d_input_gradient(conv: Conv, seed: int, peak: int, gated: bool, data: st.DataObject) -> None:
    generator = np.random.default_rng(seed)
    gy, lift = gradients(generator, *conv.y_shape), lifts(generator, conv, depthwise=True)
    w = int8s(generator, conv.rows.kernel, conv.columns.kernel, conv.in_c)
    trained_in = data.draw(st.integers(0, conv.in_c), "trained_in")
    gx = drawn_map(generator, conv.x_shape, peak, gated)
    gx.write(HOST, "depthwise2d_input_gradient", *conv_gradient_arguments(conv, gy, (-3, 6), w, trained_in, lift))
    check_map(gx, peak, ref.conv_input_sums(conv, gy, w.transpose(2, 0, 1)[..., None], lift), -3 + 6)


@given(pool=pools(), seed=SEEDS, peak=PEAKS, gated=st.booleans())
@KERNEL
def test_avg_pool_gradient(pool: Pool, seed: int, peak: int, gated: bool) -> None:
    generator = np.random.default_rng(seed)
    gy = gradients(generator, *pool.y_shape)
    gx = drawn_map(generator, pool.x_shape, peak, gated)
    gx.write(HOST, "avg_pool_gradient", pool.fields, gy, 11)
    check_map(gx, peak, ref.avg_pool_sums(pool, gy), 11 + 23)


@given(pool=pools(), seed=SEEDS, peak=PEAKS, gated=st.booleans())
@KERNEL
def test_max_pool_gradient(pool: Pool, seed: int, peak: int, gated: bool) -> None:
    """Where windows do not overlap, exponent and peak stay."""
    generator = np.random.default_rng(seed)
    gy = gradients(generator, *pool.y_shape)
    taps, winners = max_pool_winners(generator, pool)
    gx = drawn_map(generator, pool.x_shape, peak, gated)
    gx.write(HOST, "max_pool_gradient", pool.fields, gy, 11, winners)
    sums = ref.max_pool_sums(pool, gy, taps)
    if any(axis.kernel > axis.stride for axis in (pool.rows, pool.columns)):
        check_map(gx, peak, sums, 11)
        return
    np.testing.assert_array_equal(gx.values, sums if gx.gate is None else np.where(gx.gate, sums, 0))
    assert (gx.exponent, gx.peak, gx.saturated) == (11, peak, 0)


@given(shape=upsamplings(), seed=SEEDS, peak=PEAKS, gated=st.booleans())
@KERNEL
def test_upsample_gradient(shape: Upsampling, seed: int, peak: int, gated: bool) -> None:
    generator = np.random.default_rng(seed)
    gy = gradients(generator, *shape.y_shape)
    gx = drawn_map(generator, shape.x_shape, peak, gated)
    gx.write(HOST, "upsample_gradient", shape.fields, gy, 11)
    check_map(gx, peak, ref.upsample_sums(shape, gy), 11)


FAR, NEAR = st.integers(-60, 60), st.integers(0, 12)


@given(n=st.integers(1, 40), seed=SEEDS, peak=st.integers(0, 2**17), gated=st.booleans(),
       exponents=st.tuples(FAR, FAR) | st.tuples(NEAR, NEAR),
       place=st.sampled_from(["apart", "a", "b"]))  # fmt: skip
@KERNEL
def test_add_gradients(n: int, seed: int, peak: int, gated: bool, exponents: tuple[int, int], place: str) -> None:
    generator = np.random.default_rng(seed)
    a, b = gradients(generator, n), gradients(generator, n)
    y = drawn_map(generator, (n,), peak, gated)
    sums, exponent = ref.added(a, exponents[0], b, exponents[1])
    y.values = {"apart": y.values, "a": a, "b": b}[place]
    y.write(HOST, "add_gradients", n, a, exponents[0], b, exponents[1])
    check_map(y, peak, sums, exponent)


@given(n=st.integers(1, 40), seed=SEEDS, in_place=st.booleans())
@KERNEL
def test_gate_gradient(n: int, seed: int, in_place: bool) -> None:
    generator = np.random.default_rng(seed)
    gy, gate = gradients(generator, n), generator.random(n) < 0.5
    expected = np.where(gate, gy, 0)
    y = gy if in_place else np.full(n, 99, np.int8)
    bits = np.packbits(gate, bitorder="little")
    HOST.call("gate_gradient", n, gy, bits, y)
    np.testing.assert_array_equal(y, expected)


def check_update(name: str, conv: Conv, step: Step, gy: Array, x: Array, sums: ref.Int, weights: Weights,
                 exponents: tuple[int, int]) -> None:  # fmt: skip
    """One update, compared with the reference's; `sums` of the weights that train, in their layout."""
    depthwise = name == "depthwise2d_update"
    lift = weights.lift[: sums.shape[-1]] if depthwise else weights.lift[:, None, None, None]
    update = ref.Update(step.rate_q16, step.seed, 3, weights.exponent, lift, sum(exponents), gy[..., 0].size)
    expected = getattr(update, weights.rule)(weights.values, weights.residuals, sums)
    HOST.call(name, step.sgd, *weights.arguments(3, conv, gy, exponents[0], x, exponents[1]))
    np.testing.assert_array_equal(weights.values, expected[0])
    if weights.residuals is not None:
        np.testing.assert_array_equal(weights.residuals, expected[1])
    assert step.saturated == expected[2]


@given(conv=convs(), seed=SEEDS, rule=st.sampled_from(RULES), rate=RATES, gy_exponent=st.integers(-2, 30),
       sliced=st.booleans(), data=st.data())  # fmt: skip
@KERNEL
def test_conv2d_update(
    conv: Conv, seed: int, rule: str, rate: int, gy_exponent: int, sliced: bool, data: st.DataObject
) -> None:
    """The whole input, or the slice of it that the trained weights read."""
    generator = np.random.default_rng(seed)
    trained_in = data.draw(st.integers(1, conv.group_in), "trained_in")
    x, gy = int8s(generator, *conv.x_shape), gradients(generator, *conv.y_shape)
    sums = ref.conv_weight_sums(conv, gy, x)[..., :trained_in]
    weights = Weights.random(generator, rule, sums.shape, lifts(generator, conv), 6)
    kept = np.ascontiguousarray(x[..., :trained_in]) if sliced and conv.groups == 1 else x
    check_update("conv2d_update", conv, Step(rate, seed), gy, kept, sums, weights, (gy_exponent, 5))


@given(conv=depthwise_convs(), seed=SEEDS, rule=st.sampled_from(RULES), rate=RATES, gy_exponent=st.integers(-2, 30),
       sliced=st.booleans(), data=st.data())  # fmt: skip
@KERNEL
def test_depthwise2d_update(
    conv: Conv, seed: int, rule: str, rate: int, gy_exponent: int, sliced: bool, data: st.DataObject
) -> None:
    generator = np.random.default_rng(seed)
    trained_in = data.draw(st.integers(1, conv.in_c), "trained_in")
    x, gy = int8s(generator, *conv.x_shape), gradients(generator, *conv.y_shape)
    sums = np.ascontiguousarray(ref.conv_weight_sums(conv, gy, x)[..., 0].transpose(1, 2, 0)[..., :trained_in])
    weights = Weights.random(generator, rule, sums.shape, lifts(generator, conv, depthwise=True), 6)
    kept = np.ascontiguousarray(x[..., :trained_in]) if sliced else x
    check_update("depthwise2d_update", conv, Step(rate, seed), gy, kept, sums, weights, (gy_exponent, 5))


@given(positions=st.integers(1, 60), channels=st.integers(1, 9), seed=SEEDS, rate=RATES,
       gy_exponent=st.integers(-30, 60))  # fmt: skip
@KERNEL
def test_update_bias(positions: int, channels: int, seed: int, rate: int, gy_exponent: int) -> None:
    generator = np.random.default_rng(seed)
    check_bias(gradients(generator, positions, channels), generator.integers(0, 8, channels, np.int8), rate,
               gy_exponent, seed)  # fmt: skip


def check_bias(gy: Array, lift: Array, rate: int, gy_exponent: int, seed: int) -> None:
    channels = len(lift)
    bias = np.random.default_rng(seed).choice([-(2**29), -5000, 0, 77, 2**29], channels).astype(np.int32)
    expected = ref.update_bias(bias, gy, rate, 14 - lift.astype(np.int64) - gy_exponent, seed, 1)
    step = Step(rate, seed)
    HOST.call("update_bias", step.sgd, 1, gy, gy_exponent, len(gy), channels, bias, lift, 14)
    np.testing.assert_array_equal(bias, expected[0])
    assert step.saturated == expected[1]


@given(n=st.integers(1, 40), seed=SEEDS)
@KERNEL
def test_a_fold_keeps_value_and_rest_together_but_for_what_is_clipped(n: int, seed: int) -> None:
    generator = np.random.default_rng(seed)
    q, pending = int8s(generator, n), generator.integers(-(2**15), 2**15, n, np.int16)
    whole = ref.wide(q) * 256 + pending
    expected = np.clip(whole, -128 * 256 - 128, 127 * 256 + 127)
    step = Step()
    HOST.call("fold_weights", step.sgd, n, q, pending)
    np.testing.assert_array_equal(ref.wide(q) * 256 + pending, expected)
    assert (pending >= -128).all()
    assert (pending <= 127).all()
    assert step.saturated == (whole != expected).sum()

    bias, steps = (generator.integers(-(2**29), 2**29 + 1, n, np.int32) for _ in range(2))
    total = np.clip(bias.astype(np.int64) + steps, -(2**29), 2**29)
    HOST.call("fold_bias", n, bias, steps)
    np.testing.assert_array_equal(bias, total)
    assert not steps.any()


@pytest.mark.parametrize("sign", [-1, 1])
@pytest.mark.parametrize("peak", [0, 2**31 - 1])
def test_the_longest_sums_of_an_input_gradient_fit(sign: int, peak: int) -> None:
    """As many products as the limit of the lift allows, all at their extremes: 127 * 128 * 2^17."""
    conv = Conv(Axis(3, 4, 2, 1, 1), Axis(3, 4, 2, 1, 1), 3, 256, 1)
    gy, w = np.full(conv.y_shape, 127, np.int8), np.full(conv.w_shape, -128, np.int8)
    lift = np.full(256, 7, np.int8)
    sums = ref.conv_input_sums(conv, gy * np.int8(sign), w, lift)
    assert np.abs(sums).max() == 2**31 - 2**24
    gx = Map(conv.x_shape, None, peak)
    gx.write(HOST, "conv2d_input_gradient", *conv_gradient_arguments(conv, gy * np.int8(sign), (0, 0), w, 2, lift))
    check_map(gx, peak, sums, 0)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("depthwise", [False, True])
@pytest.mark.parametrize("sign", [-1, 1])
def test_the_longest_sums_of_an_update_fit(rule: str, depthwise: bool, sign: int) -> None:
    """2^17 positions, all at their extremes; and the sums of a bias."""
    conv = Conv(Axis(512, 512, 1, 1, 0), Axis(256, 256, 1, 1, 0), 1, 1, 1)
    gy, x = np.full(conv.y_shape, 127 * sign, np.int8), np.full(conv.x_shape, -128, np.int8)
    sums = ref.conv_weight_sums(conv, gy, x)
    assert np.abs(sums).max() == 2**31 - 2**24
    if depthwise:
        sums = sums[..., 0].transpose(1, 2, 0)
    for rate in (1, 655, 2**17):
        weights = Weights.random(np.random.default_rng(1), rule, sums.shape, np.array([2], np.int8), 4)
        name = "depthwise2d_update" if depthwise else "conv2d_update"
        check_update(name, conv, Step(rate, 5), gy, x, sums, weights, (20, 0))
        check_bias(gy.reshape(-1, 1), np.array([1], np.int8), rate, 12, 7)


def test_a_large_window_s_average_fits_and_is_exact() -> None:
    """Global pooling, and windows that overlap fully: each input is covered by as many windows as there are taps."""
    everything, overlapping = Axis(28, 1, 28, 28, 0), Axis(5, 9, 5, 1, 4)
    for pool in (Pool(everything, everything, 2), Pool(overlapping, overlapping, 2)):
        gy = np.broadcast_to(np.array([127, -127], np.int8), pool.y_shape).copy()
        gx = Map(pool.x_shape, None, 2**30)
        gx.write(HOST, "avg_pool_gradient", pool.fields, gy, 4)
        check_map(gx, 2**30, ref.avg_pool_sums(pool, gy), 4 + 23)


def test_a_peak_rises_at_once_and_halves_within_eleven_steps() -> None:
    n = 16
    y, zeros = Map((n,), None, 0), np.zeros(n, np.int8)
    loud, quiet = np.full(n, 127, np.int8), np.full(n, 1, np.int8)
    y.write(HOST, "add_gradients", n, loud, 0, zeros, 0)
    assert (y.peak, y.saturated) == (127 * 256, n)
    y.write(HOST, "add_gradients", n, loud, 0, zeros, 0)
    assert y.saturated == 0
    np.testing.assert_array_equal(y.values, loud)
    for _ in range(11):
        y.write(HOST, "add_gradients", n, quiet, 0, zeros, 0)
    assert 127 * 128 * 0.9 < y.peak < 127 * 128
    for _ in range(200):
        y.write(HOST, "add_gradients", n, quiet, 0, zeros, 0)
    assert 256 <= y.peak < 256 * 16 / 15 + 1, "the size of what comes in"
    assert y.saturated == 0
    np.testing.assert_array_equal(y.values, 2.0**y.exponent * quiet)
    for _ in range(200):
        y.write(HOST, "add_gradients", n, zeros, 0, zeros, 0)
    assert y.peak >= 1


def test_a_gradient_far_below_a_unit_keeps_its_expectation() -> None:
    """An eighth of a unit is stored as 1 by one element in eight, and each step and map draws anew."""
    n, zeros = 4096, np.zeros(4096, np.int8)
    found = []
    for seed, peak in ((1, 2**12), (2, 2**12), (1, 2**12 + 1)):
        y = Map((n,), None, peak, seed)
        y.write(HOST, "add_gradients", n, np.full(n, 1, np.int8), 0, zeros, 8)
        assert y.exponent == 8 - 6, "sums of 2^8 are stored in units of 2^6"
        found.append(y.values.copy())
    one = Map((n,), None, 2**18, 3)
    one.write(HOST, "add_gradients", n, np.full(n, 2, np.int8), 0, zeros, 0)
    assert set(one.values.tolist()) == {0, 1}
    assert one.values.mean() == pytest.approx(512 / 4096, abs=0.02)
    assert any((found[0] != other).any() for other in found[1:]) or (found[0] == 4).all()


def test_weights_take_their_random_numbers_in_their_order_and_streams_differ() -> None:
    """Equal gradients, steps of half a unit: what is rounded up is the random numbers' top bit."""
    conv = Conv(Axis(1, 1, 1, 1, 0), Axis(1, 1, 1, 1, 0), 4, 64, 1)
    gy, x = np.full(conv.y_shape, 1, np.int8), np.full(conv.x_shape, 1, np.int8)
    moved = {}
    for stream in (0, 1):
        values, residuals = np.zeros(conv.w_shape, np.int8), np.zeros(conv.w_shape, np.int8)
        weights = Weights("compensated", values, residuals, np.zeros(64, np.int8), 0)
        step = Step(2**15, 77)  # 0.5, in units of 2^-8: the gradient is of 2^-8
        HOST.call("conv2d_update", step.sgd, *weights.arguments(stream, conv, gy, 8, x, 0))
        expected = -(ref.random_numbers(77, stream, values.size) >> 31)
        np.testing.assert_array_equal(residuals.reshape(-1), expected)
        moved[stream] = residuals
    assert (moved[0] != moved[1]).mean() == pytest.approx(0.5, abs=0.1)
