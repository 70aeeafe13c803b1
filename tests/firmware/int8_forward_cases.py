"""What the tests of the int8 forward pass share: sources, ranges, and calls with random arguments."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from engine_targets import Argument
from float32_reference import Array, Conv, Pool, Upsampling
from int8_backward_cases import int8s, ints, splits
from numpy.typing import NDArray

ENGINE = Path(__file__).resolve().parents[2] / "firmware" / "engine" / "int8"
KERNELS = ("add", "avg_pool", "conv2d", "depthwise2d", "max_pool", "mean_squared_error", "pack_gate", "slice_channels",
           "softmax_cross_entropy", "upsample", "widen")  # fmt: skip
SOURCES = [*(ENGINE / f"{name}.cpp" for name in KERNELS), Path(__file__).with_name("int8_forward_probe.cpp")]

LINEAR, RELU, RELU6 = ints(-128, 127), ints(0, 127), ints(0, 96)
RANGES = (LINEAR, RELU, RELU6)
Call = tuple[str, list[Argument]]


def guarded(size: int, dtype: type = np.int8) -> NDArray[np.generic]:
    """Room for an output, and eight elements behind it that nobody may write."""
    return np.full(size + 8, 85, dtype)


def biases(generator: np.random.Generator, channels: int) -> NDArray[np.int32]:
    """Of all sizes up to what a stored bias may be."""
    return (generator.normal(0, 1, channels) * 2.0 ** generator.uniform(0, 27, channels)).astype(np.int32)


def conv_call(generator: np.random.Generator, conv: Conv, trained_in: int, bounds: Array) -> Call:
    shifts = generator.integers(0, 31, conv.out_c, np.int8)
    weights = splits(int8s(generator, *conv.w_shape), trained_in)
    y = guarded(int(np.prod(conv.y_shape)))
    return "conv2d", [conv.fields, int8s(generator, *conv.x_shape), *weights, trained_in,
                      biases(generator, conv.out_c), shifts, bounds, scratch(conv), y]  # fmt: skip


def logits_call(generator: np.random.Generator, conv: Conv, trained_in: int) -> Call:
    name, arguments = conv_call(generator, conv, trained_in, LINEAR)
    return f"{name}_logits", [*arguments[:6], arguments[8], guarded(int(np.prod(conv.y_shape)), np.int32)]


def depthwise_call(generator: np.random.Generator, conv: Conv, trained_in: int, bounds: Array) -> Call:
    w = int8s(generator, conv.rows.kernel, conv.columns.kernel, conv.in_c)
    shifts = generator.integers(0, 31, conv.out_c, np.int8)
    y = guarded(int(np.prod(conv.y_shape)))
    return "depthwise2d", [conv.fields, int8s(generator, *conv.x_shape), *splits(w, trained_in), trained_in,
                           biases(generator, conv.out_c), shifts, bounds, y]  # fmt: skip


def scratch(conv: Conv) -> NDArray[np.generic]:
    return guarded(conv.rows.kernel * conv.columns.kernel * conv.in_c)


def max_pool_call(generator: np.random.Generator, pool: Pool) -> Call:
    size = int(np.prod(pool.y_shape))
    bits = 2 if pool.taps <= 4 else 4 if pool.taps <= 16 else 8
    return "max_pool", [pool.fields, int8s(generator, *pool.x_shape), guarded(size),
                        guarded((size * bits + 7) // 8, np.uint8)]  # fmt: skip


def upsample_call(generator: np.random.Generator, shape: Upsampling) -> Call:
    return "upsample", [shape.fields, int8s(generator, *shape.x_shape), guarded(int(np.prod(shape.y_shape)))]
