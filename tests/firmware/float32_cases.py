"""What the tests of the float32 kernels share: sources, values and shapes of all kinds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from float32_reference import Array, Axis, Conv, Pool, Upsampling
from hypothesis import strategies as st

ENGINE = Path(__file__).resolve().parents[2] / "firmware" / "engine" / "float32"
SOURCES = [*sorted(ENGINE.glob("*.cpp")), Path(__file__).with_name("float32_probe.cpp")]

LARGEST = float(np.finfo(np.float32).max)
LINEAR = np.array([-LARGEST, LARGEST], np.float32)
RELU = np.array([0, LARGEST], np.float32)
RELU6 = np.array([0, 6], np.float32)
RANGES = (LINEAR, RELU, RELU6)


def floats(generator: np.random.Generator, *shape: int) -> Array:
    return generator.normal(0, 1, shape).astype(np.float32)


def splits(weights: Array, trained_in: int) -> tuple[Array | None, Array | None]:
    """Trained and frozen weights, channels last; null where a part is empty."""
    parts = (weights[..., :trained_in], weights[..., trained_in:])
    trained, frozen = (np.ascontiguousarray(part) if part.size else None for part in parts)
    return trained, frozen


@st.composite
def axes(draw: st.DrawFn, largest_kernel: int = 4, outputs: int = 4) -> Axis:
    """Windows of which each meets the map; a stride may leave some of it unread."""
    kernel, stride = draw(st.integers(1, largest_kernel)), draw(st.integers(1, 3))
    pad, count = draw(st.integers(0, kernel - 1)), draw(st.integers(1, outputs))
    last = (count - 1) * stride - pad
    size = draw(st.integers(max(1, last + 1), max(1, last + kernel + 2)))
    return Axis(size, count, kernel, stride, pad)


@st.composite
def convs(draw: st.DrawFn) -> Conv:
    """General ones, 1x1 without padding (no window is gathered), and fully connected ones."""
    channels = st.integers(1, 7)
    kind = draw(st.sampled_from(["general", "general", "grouped", "pointwise", "dense"]))
    groups = draw(st.integers(2, 3)) if kind == "grouped" else 1
    in_c, out_c = groups * draw(channels), groups * draw(channels)
    if kind == "dense":
        sides = [draw(st.integers(1, 6)) for _ in range(2)]
        rows, columns = (Axis(side, 1, side, 1, 0) for side in sides)
    elif kind == "pointwise":
        rows, columns = draw(axes(1)), draw(axes(1))
    else:
        rows, columns = draw(axes()), draw(axes())
    return Conv(rows, columns, in_c, out_c, groups)


@st.composite
def depthwise_convs(draw: st.DrawFn) -> Conv:
    """One channel in, one out a group."""
    channels = draw(st.integers(1, 9))
    return Conv(draw(axes()), draw(axes()), channels, channels, channels)


@st.composite
def pools(draw: st.DrawFn) -> Pool:
    """Windows with and without overlap, of up to 36 taps: winners of two, four and eight bits."""
    largest = draw(st.sampled_from([2, 4, 6]))
    return Pool(draw(axes(largest)), draw(axes(largest)), draw(st.integers(1, 9)))


@st.composite
def upsamplings(draw: st.DrawFn) -> Upsampling:
    """Some cut off within the last repetition."""
    factor = draw(st.integers(1, 3))
    in_h, in_w = draw(st.integers(1, 4)), draw(st.integers(1, 4))
    out_h, out_w = (size * factor - draw(st.integers(0, factor - 1)) for size in (in_h, in_w))
    return Upsampling(in_h, in_w, draw(st.integers(1, 9)), out_h, out_w, factor)
