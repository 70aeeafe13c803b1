"""The float32 kernels that are made for FPUs give the general kernels' bits, on a Cortex-M4F.

Whatever the values: infinities, denormal numbers and what is not a number included, but for the bits of the latter.
Nothing around the output is written, and no instruction count depends on data.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from engine_targets import FIRMWARE, Argument, CoreTarget
from float32_cases import LINEAR, RANGES, RELU, RELU6, splits
from float32_reference import Array, Axis, Conv
from hypothesis import given, settings
from hypothesis import strategies as st

ENGINE = FIRMWARE / "engine" / "float32"
KERNELS = ("conv2d", "conv2d_input_gradient", "conv2d_update")
SOURCES = [*(ENGINE / f"{name}.cpp" for name in KERNELS), *(ENGINE / "fast" / f"{name}.cpp" for name in KERNELS),
           Path(__file__).with_name("float32_fast_probe.cpp")]  # fmt: skip
SPECIAL = np.array([0, -0.0, np.inf, -np.inf, np.nan, 1e-40, -1e-40, 3e38, -3e38], np.float32)
GUARD = np.float32(1234.5)
KERNEL = settings(max_examples=60, deadline=None, derandomize=True)
_TARGETS: list[CoreTarget] = []


@pytest.fixture(scope="module", autouse=True)
def core(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Hypothesis calls a test many times, which a fixture of its own would not outlive."""
    _TARGETS[:] = [CoreTarget("cortex-m4f", "float32-fast", tmp_path_factory.mktemp("image"), SOURCES)]


@st.composite
def convs(draw: st.DrawFn) -> Conv:
    """Windows with stride and padding, pointwise ones, and such as cover their input."""
    kind = draw(st.sampled_from(["window", "pointwise", "dense"]))
    in_c, out_c = draw(st.integers(1, 20)), draw(st.integers(1, 11))
    if kind == "dense":
        rows, columns = (Axis(n, 1, n, 1, 0) for n in (draw(st.integers(1, 4)), draw(st.integers(1, 4))))
        return Conv(rows, columns, in_c, out_c, 1)
    if kind == "pointwise":
        rows, columns = (Axis(n, n, 1, 1, 0) for n in (draw(st.integers(1, 6)), draw(st.integers(1, 6))))
        return Conv(rows, columns, in_c, out_c, 1)
    rows, columns = draw(axes()), draw(axes())
    groups = draw(st.sampled_from([1, 1, 1, 2]))
    return Conv(rows, columns, in_c * groups, out_c * groups, groups)


@st.composite
def axes(draw: st.DrawFn) -> Axis:
    size, kernel, stride = draw(st.integers(3, 7)), draw(st.integers(1, 3)), draw(st.integers(1, 2))
    pad = draw(st.integers(0, kernel - 1))
    return Axis(size, (size + 2 * pad - kernel) // stride + 1, kernel, stride, pad)


def values(generator: np.random.Generator, special: bool, *shape: int) -> Array:
    found = generator.standard_normal(shape).astype(np.float32)
    if special:
        where = generator.random(shape) < 0.04
        found[where] = generator.choice(SPECIAL, int(where.sum()))
    return found


def assert_same_bits(name: str, before: list[Argument], after: list[Argument], out: Array) -> None:
    """Calls the general and the fast kernel on copies of `out`, its last part a guard."""
    found = []
    for fast in (0, 1):
        written = np.concatenate([out.reshape(-1), np.full(8, GUARD, np.float32)])
        arguments = [written if argument is out else argument for argument in (*before, *after)]
        _TARGETS[0].call(name, fast, *arguments)
        assert (written[-8:] == GUARD).all(), "writes behind its output"
        found.append(np.where(np.isnan(written), np.uint32(0x7FC00000), written.view(np.uint32)))
    np.testing.assert_array_equal(found[1], found[0])


def scratch_of(conv: Conv) -> Array:
    """As bench/compiler/differentiate.py plans it."""
    window = conv.rows.kernel * conv.columns.kernel * conv.in_c
    return np.zeros(max(window, 256), np.float32)


SEEDS = st.integers(0, 2**32 - 1)


@given(conv=convs(), seed=SEEDS, part=st.integers(0, 4), bounds=st.sampled_from(RANGES), special=st.booleans())
@KERNEL
def test_conv2d(conv: Conv, seed: int, part: int, bounds: tuple[float, float], special: bool) -> None:
    generator = np.random.default_rng(seed)
    trained_in = conv.group_in * part // 4
    parts = splits(values(generator, special, *conv.w_shape), trained_in)
    x, bias = values(generator, special, *conv.x_shape), values(generator, special, conv.out_c)
    y = values(generator, False, *conv.y_shape)
    before: list[Argument] = [conv.fields, x, *parts, trained_in, bias, np.array(bounds, np.float32), scratch_of(conv)]
    assert_same_bits("conv2d", before, [y], y)


@given(conv=convs(), seed=SEEDS, part=st.integers(0, 4), gated=st.booleans(), special=st.booleans())
@KERNEL
def test_conv2d_input_gradient(conv: Conv, seed: int, part: int, gated: bool, special: bool) -> None:
    generator = np.random.default_rng(seed)
    trained_in = conv.group_in * part // 4
    parts = splits(values(generator, special, *conv.w_shape), trained_in)
    gx = values(generator, False, *conv.x_shape)
    gate = generator.integers(0, 256, (gx.size + 7) // 8).astype(np.uint8) if gated else None
    before: list[Argument] = [conv.fields, values(generator, special, *conv.y_shape), *parts, trained_in, gate]
    assert_same_bits("conv2d_input_gradient", before, [gx], gx)


@given(conv=convs(), seed=SEEDS, part=st.integers(1, 4), accumulate=st.booleans(), sliced=st.booleans(),
       special=st.booleans())  # fmt: skip
@KERNEL
def test_conv2d_update(conv: Conv, seed: int, part: int, accumulate: bool, sliced: bool, special: bool) -> None:
    generator = np.random.default_rng(seed)
    trained_in = max(1, conv.group_in * part // 4)
    x_channels = trained_in if sliced and conv.groups == 1 else conv.in_c
    x = values(generator, special, *conv.x_shape[:2], x_channels)
    weights = values(generator, special, *conv.w_shape[:3], trained_in)
    gy = values(generator, special, *conv.y_shape)
    assert_same_bits("conv2d_update", [int(accumulate), conv.fields, gy, x, x_channels], [weights, trained_in], weights)


@pytest.mark.parametrize("bounds", [LINEAR, RELU, RELU6])
def test_no_count_depends_on_data(bounds: tuple[float, float]) -> None:
    conv = Conv(Axis(5, 5, 3, 1, 1), Axis(5, 5, 3, 1, 1), 7, 10, 1)
    counts: dict[str, set[int]] = {name: set() for name in KERNELS}
    for seed in range(3):
        generator = np.random.default_rng(seed)
        x, gy, w = (values(generator, seed > 0, *shape) for shape in (conv.x_shape, conv.y_shape, conv.w_shape))
        bias, scratch = values(generator, False, conv.out_c), scratch_of(conv)
        gate = generator.integers(0, 256, 32).astype(np.uint8)
        core = _TARGETS[0]
        core.call("conv2d", 1, conv.fields, x, None, w, 0, bias, np.array(bounds, np.float32), scratch, gy.copy())
        counts["conv2d"].add(core.instructions)
        core.call("conv2d_input_gradient", 1, conv.fields, gy, None, w, 0, gate, x.copy())
        counts["conv2d_input_gradient"].add(core.instructions)
        core.call("conv2d_update", 1, 0, conv.fields, gy, x, conv.in_c, w.copy(), conv.in_c)
        counts["conv2d_update"].add(core.instructions)
    assert all(len(found) == 1 for found in counts.values()), counts
