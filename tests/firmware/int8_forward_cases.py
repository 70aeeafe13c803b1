"""What the tests of the int8 forward pass share: sources, ranges, guarded outputs, calls with random arguments."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from engine_targets import Argument
from float32_cases import axes, convs, depthwise_convs
from float32_reference import Array, Axis, Conv, Pool, Upsampling
from hypothesis import strategies as st
from int8_backward_cases import int8s, ints, splits
from numpy.typing import NDArray

ENGINE = Path(__file__).resolve().parents[2] / "firmware" / "engine" / "int8"
KERNELS = ("add", "avg_pool", "conv2d", "depthwise2d", "max_pool", "mean_squared_error", "pack_gate", "slice_channels",
           "softmax_cross_entropy", "upsample", "widen")  # fmt: skip
SOURCES = [*(ENGINE / f"{name}.cpp" for name in KERNELS), Path(__file__).with_name("int8_forward_probe.cpp")]

LINEAR, RELU, RELU6 = ints(-128, 127), ints(0, 127), ints(0, 96)
RANGES = (LINEAR, RELU, RELU6)
Call = tuple[str, list[Argument]]

GUARD = 85
GUARDS = 8


def guarded(size: int, dtype: Any = np.int8) -> NDArray[Any]:
    """Room for `size` elements and eight more behind; before it, in `base`, eight more: nobody may write those."""
    return np.full(GUARDS + size + GUARDS, GUARD, dtype)[GUARDS:]


def guarded_copy(values: Array) -> NDArray[Any]:
    """Of an input in whose place a kernel may write."""
    room = guarded(values.size, values.dtype)
    room[: values.size] = values.reshape(-1)
    return room


def content(room: Argument, size: int) -> Array:
    """What a kernel wrote into guarded room, and nothing around it."""
    assert isinstance(room, np.ndarray)
    assert room.base is not None
    assert (room.base[:GUARDS] == GUARD).all(), "written before the start"
    assert (room[size:] == GUARD).all(), "written behind the end"
    return room[:size]


def one_dimensional(conv: Conv) -> Conv:
    return Conv(Axis(1, 1, 1, 1, 0), conv.columns, conv.in_c, conv.out_c, conv.groups)


def all_convs() -> st.SearchStrategy[Conv]:
    return st.one_of(convs(), convs().map(one_dimensional))


def all_depthwise_convs() -> st.SearchStrategy[Conv]:
    return st.one_of(depthwise_convs(), depthwise_convs().map(one_dimensional))


@st.composite
def pools_without_padding(draw: st.DrawFn) -> Pool:
    """Nor do windows reach behind the map; a stride may leave some of it unread."""

    def axis() -> Axis:
        drawn = draw(axes())
        read = (drawn.outputs - 1) * drawn.stride + drawn.kernel
        return Axis(read + draw(st.integers(0, 2)), drawn.outputs, drawn.kernel, drawn.stride, 0)

    return Pool(axis(), axis(), draw(st.integers(1, 9)))


def biases(generator: np.random.Generator, channels: int) -> NDArray[np.int32]:
    """Of all sizes up to what a stored bias may be, 2^29."""
    real = generator.normal(0, 1, channels) * 2.0 ** generator.uniform(0, 29, channels)
    return np.clip(real, -(2**29), 2**29).astype(np.int32)


def scratch_for(conv: Conv) -> NDArray[np.int8] | None:
    """A window's content; null where every window is read in x itself."""
    unpadded = conv.rows.pads[0] == conv.columns.pads[0] == 0
    pointwise = conv.rows.kernel == conv.columns.kernel == 1
    whole = all(axis.kernel == axis.size and axis.outputs == 1 for axis in (conv.rows, conv.columns))
    taps = conv.rows.kernel * conv.columns.kernel
    return None if unpadded and (pointwise or whole) else guarded(taps * conv.in_c)


def conv_call(generator: np.random.Generator, conv: Conv, w: Array, trained_in: int, bounds: Array) -> Call:
    """x, trained, frozen, trained_in, bias, shifts, range, scratch, y."""
    shifts = generator.integers(0, generator.choice([4, 12, 31]), conv.out_c, np.int8)
    return "conv2d", [conv.fields, int8s(generator, *conv.x_shape), *splits(w, trained_in), trained_in,
                      biases(generator, conv.out_c), shifts, bounds, scratch_for(conv),
                      guarded(int(np.prod(conv.y_shape)))]  # fmt: skip


def logits_call(generator: np.random.Generator, conv: Conv, w: Array, trained_in: int) -> Call:
    name, arguments = conv_call(generator, conv, w, trained_in, LINEAR)
    return f"{name}_logits", [*arguments[:6], arguments[8], guarded(int(np.prod(conv.y_shape)), np.int32)]


def depthwise_call(generator: np.random.Generator, conv: Conv, w: Array, trained_in: int, bounds: Array) -> Call:
    _, arguments = conv_call(generator, conv, w, trained_in, bounds)
    return "depthwise2d", [*arguments[:8], arguments[9]]


def depthwise_shape(conv: Conv) -> tuple[int, int, int]:
    """Of its weights."""
    return conv.rows.kernel, conv.columns.kernel, conv.in_c


def max_pool_call(generator: np.random.Generator, pool: Pool) -> Call:
    size = int(np.prod(pool.y_shape))
    bits = 2 if pool.taps <= 4 else 4 if pool.taps <= 16 else 8
    return "max_pool", [pool.fields, int8s(generator, *pool.x_shape), guarded(size),
                        guarded((size * bits + 7) // 8, np.uint8)]  # fmt: skip


def upsample_call(generator: np.random.Generator, shape: Upsampling) -> Call:
    return "upsample", [shape.fields, int8s(generator, *shape.x_shape), guarded(int(np.prod(shape.y_shape)))]
