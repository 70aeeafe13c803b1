"""Operators that walk over a map: convolutions, pools, enlargement."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from bench.model.from_onnx import constants
from bench.model.from_onnx.values import LOWEST, Double, Image, RefusedError, Step, Value, bound, positions
from bench.model.from_onnx.walk import Walk
from bench.model.graph import AvgPool, Conv2d, MaxPool, Op, Pair, Shape, Upsample


@dataclass(frozen=True)
class Sides:
    """A window along height and width as the operator sees them, the padding around the map included."""

    kernel: Pair
    stride: Pair
    begin: Pair
    end: Pair
    out: Pair


def conv(walk: Walk, step: Step) -> None:
    """Operator Conv: weights [out_c, in_c / groups, kernel_h, kernel_w]."""
    image = walk.image(step)
    weights = walk.parameters(step, 1, "weights")
    rank = walk.value(step).index.ndim
    if weights.ndim != rank:
        raise RefusedError(f"has weights of shape {list(weights.shape)} on an input of {rank} dimensions")
    if rank == 3:
        weights = weights[:, :, None, :]
    bias = walk.parameters(step, 2, "bias") if walk.has(step, 2) else np.zeros(len(weights))
    groups = step.whole("group", 1)
    if (
        groups < 1
        or weights.shape[1] * groups != image.shape[2]
        or len(weights) % groups
        or bias.shape != (len(weights),)
    ):
        raise RefusedError(
            f"weights {list(weights.shape)}, bias {list(bias.shape)} and {groups} groups do not fit {image.shape[2]} "
            "channels"
        )
    if image.fill == LOWEST:
        raise RefusedError("its input is padded with minus infinity; padding by zeros is taken")
    sides = _sides(step, image, _pair((*weights.shape[2:],), "kernel"))
    if step.wholes("kernel_shape", weights.shape[2:]) not in (weights.shape[2:], weights.shape[-1:]):
        raise RefusedError(f"its kernel_shape {step.wholes('kernel_shape', ())} is not that of its weights")
    layout = (0, 3, 2, 1) if image.turned else (0, 2, 3, 1)
    op = Conv2d(image.own(sides.kernel), image.own(sides.stride), image.own(sides.begin), groups)
    _give(walk, step, image, op, sides, len(weights), np.ascontiguousarray(weights.transpose(layout)), bias)


def max_pool(walk: Walk, step: Step) -> None:
    """Operator MaxPool."""
    image = walk.image(step)
    if image.fill != LOWEST and any(image.pads) and bound(walk.layers, image.source) == "linear":
        raise RefusedError(
            "takes the maximum over zeros that a Pad has put around its input; use the pool's own padding"
        )
    sides = _sides(step, image, _kernel(step))
    _give(walk, step, image, MaxPool(*(image.own(p) for p in (sides.kernel, sides.stride, sides.begin))), sides)


def average_pool(walk: Walk, step: Step) -> None:
    """Operator AveragePool, where every window is divided by the kernel's taps."""
    image = walk.image(step)
    if image.fill == LOWEST:
        raise RefusedError("its input is padded with minus infinity; padding by zeros is taken")
    sides = _sides(step, image, _kernel(step))
    own = [sides.begin[i] - image.pads[i] for i in (0, 1)] + [sides.end[i] - image.pads[i + 2] for i in (0, 1)]
    counted = step.whole("count_include_pad", 0) == 1
    over = any(_overhang(sides, i, image.shape[i]) > sides.end[i] for i in (0, 1))
    if over or (not counted and any(own) and not _unused(sides, image)):
        raise RefusedError(
            "divides windows at the border by fewer elements than the others; export it with count_include_pad and "
            "without ceil_mode, or without padding"
        )
    _give(walk, step, image, AvgPool(*(image.own(p) for p in (sides.kernel, sides.stride, sides.begin))), sides)


def global_pool(kind: type[AvgPool | MaxPool]) -> Callable[[Walk, Step], None]:
    """Operators GlobalAveragePool and GlobalMaxPool."""

    def operator(walk: Walk, step: Step) -> None:
        image = walk.image(step)
        if any(image.pads):
            raise RefusedError("pools over padding; put the Pad elsewhere")
        sides = Sides((image.shape[0], image.shape[1]), (1, 1), (0, 0), (0, 0), (1, 1))
        _give(walk, step, image, kind(image.own(sides.kernel)), sides)

    return operator


def reduce(kind: type[AvgPool | MaxPool]) -> Callable[[Walk, Step], None]:
    """Operators ReduceMean and ReduceMax over height and width, in whatever layout these are."""

    def operator(walk: Walk, step: Step) -> None:
        value = walk.value(step)
        index = value.index
        height, width, channels = walk.shape_of(value.source)
        axes = constants.axes_of(step, walk.known(step))
        if axes is None:
            axes = () if step.whole("noop_with_empty_axes", 0) else tuple(range(index.ndim))
        axes = tuple(axis % index.ndim for axis in axes)
        kept = tuple(axis for axis in range(index.ndim) if axis not in axes)
        groups = index.transpose(*kept, *axes).reshape([index.shape[axis] for axis in kept] + [-1])
        channel = groups[..., 0] % channels
        full = groups.shape[-1] == height * width and np.array_equal(
            np.sort(groups, axis=-1), channel[..., None] + np.arange(height * width) * channels
        )
        if not full or (index < 0).any():
            raise RefusedError(
                f"reduces axes {list(axes)} of shape {list(index.shape)}; a mean or maximum over all of height and "
                "width is taken"
            )
        result = np.expand_dims(channel, axes) if step.whole("keepdims", 1) else channel
        name = walk.add(step, kind((height, width)), [value.source], (1, 1, channels))
        walk.give(step, Value(name, result.astype(np.int32)))

    return operator


def resize(walk: Walk, step: Step) -> None:
    """Operators Resize and Upsample: nearest neighbour, by one whole factor."""
    image = walk.image(step)
    if step.text("mode", "nearest") != "nearest" or any(image.pads) or "axes" in step.attributes:
        raise RefusedError("interpolates; nearest neighbour by a whole factor is taken")
    shape = (1, image.shape[2], *image.shape[:2])
    scale_input = 1 if step.op == "Upsample" or walk.opset < 11 else 2
    if walk.has(step, 3):
        out = [int(size) for size in walk.constant(step, 3, "sizes").ravel()]
        scales = [size / old for size, old in zip(out, shape, strict=True)]
    else:
        attribute = step.attributes.get("scales")
        found = attribute if attribute is not None else walk.constant(step, scale_input, "scales").ravel()
        scales = [float(scale) for scale in found]
        out = [math.floor(size * scale) for size, scale in zip(shape, scales, strict=True)]
    factor = round(scales[2]) if 0 < scales[2] < 1 << 16 else 0
    grown = [shape[0], shape[1], shape[2] * factor, shape[3] * factor]
    if factor < 1 or out != grown or (scale_input == 2 and any(_differs(step, factor, old) for old in shape[2:])):
        raise RefusedError(f"resizes {list(shape)} to {out}; nearest neighbour by one whole factor is taken")
    if factor == 1:
        walk.give(step, walk.value(step))
        return
    sides = Sides((1, 1), (1, 1), (0, 0), (0, 0), (grown[2], grown[3]))
    _give(walk, step, image, Upsample(factor), sides)


def _differs(step: Step, factor: int, old: int) -> bool:
    """Some element is not the one that plain repetition gives (operator Resize, coordinate_transformation_mode)."""
    new = np.arange(min(old, 64) * factor, dtype=np.float64)
    mode = step.text("coordinate_transformation_mode", "half_pixel")
    if mode in ("half_pixel", "pytorch_half_pixel", "half_pixel_symmetric"):
        source = (new + 0.5) / factor - 0.5
    elif mode == "asymmetric":
        source = new / factor
    else:
        return True
    # Floor or ceiling, or rounding to the nearest with the tie down or up.
    shift = {"floor": 0.0, "round_prefer_floor": -0.5, "round_prefer_ceil": 0.5, "ceil": 0.0}
    rule = step.text("nearest_mode", "round_prefer_floor")
    if rule not in shift:
        return True
    moved = source + shift[rule]
    rounded = np.ceil(moved) if rule in ("ceil", "round_prefer_floor") else np.floor(moved)
    return not np.array_equal(np.clip(rounded, 0, min(old, 64) - 1), new // factor)


def _give(
    walk: Walk,
    step: Step,
    image: Image,
    op: Op,
    sides: Sides,
    channels: int = 0,
    weights: Double | None = None,
    bias: Double | None = None,
) -> None:
    """Notes the layer down, and where the output's elements lie, in the rank of the input."""
    own = image.own(sides.out)
    shape: Shape = (own[0], own[1], channels or image.shape[2])
    index = positions(shape)
    if image.turned:
        index = index.swapaxes(2, 3)
    if walk.value(step).index.ndim == 3:
        index = index[:, :, 0, :]
    walk.give(step, Value(walk.add(step, op, [image.source], shape, weights, bias), index))


def _kernel(step: Step) -> Pair:
    return _pair(step.wholes("kernel_shape", ()), "kernel_shape")


def _pair(values: tuple[int, ...], what: str) -> Pair:
    """Height and width; of 1-D operators the width alone is given."""
    if len(values) not in (1, 2) or min(values) < 1:
        raise RefusedError(f"its {what} {list(values)} is not one or two positive numbers")
    return (1, values[0]) if len(values) == 1 else (values[0], values[1])


def _sides(step: Step, image: Image, kernel: Pair) -> Sides:
    """Where the windows lie: the operator's own padding and that around the map. Raises RefusedError."""
    stride = _pair(step.wholes("strides", (1, 1)), "strides")
    dilation = _pair(step.wholes("dilations", (1, 1)), "dilations")
    if any(d != 1 and k != 1 for d, k in zip(dilation, kernel, strict=True)):
        raise RefusedError(f"is dilated by {list(dilation)}; the compiler's windows are dense: use dilation 1")
    given = step.wholes("pads", (0, 0, 0, 0))
    if len(given) == 2:  # 1-D: left, right
        given = (0, given[0], 0, given[1])
    if len(given) != 4 or min(given) < 0:
        raise RefusedError(f"its pads {list(given)} are not one amount for each side, none negative")
    sizes = [image.shape[i] + image.pads[i] + image.pads[i + 2] for i in (0, 1)]
    axes = [_axis(step, sizes[i], kernel[i], stride[i], (given[i], given[i + 2])) for i in (0, 1)]
    (top, bottom, height), (left, right, width) = axes
    before, after = (top + image.pads[0], left + image.pads[1]), (bottom + image.pads[2], right + image.pads[3])
    if height < 1 or width < 1:
        raise RefusedError(f"its {kernel[0]}x{kernel[1]} window does not fit its input of {sizes[0]}x{sizes[1]}")
    return Sides(kernel, stride, before, after, (height, width))


def _axis(step: Step, size: int, kernel: int, stride: int, given: Pair) -> tuple[int, int, int]:
    """Padding before, after, and outputs along one axis (operator Conv: auto_pad; MaxPool: ceil_mode)."""
    mode = step.text("auto_pad", "NOTSET")
    if mode in ("SAME_UPPER", "SAME_LOWER"):
        out = -(-size // stride)
        total = max((out - 1) * stride + kernel - size, 0)
        less = total // 2
        return (less, total - less, out) if mode == "SAME_UPPER" else (total - less, less, out)
    if mode not in ("NOTSET", "VALID"):
        raise RefusedError(f"its auto_pad {mode!r} is not known")
    before, after = given if mode == "NOTSET" else (0, 0)
    room = size + before + after - kernel
    if not step.whole("ceil_mode", 0):
        return before, after, room // stride + 1
    out = -(-room // stride) + 1
    # The last window has to begin in the input or in the padding before it.
    return before, after, out - 1 if (out - 1) * stride >= size + before else out


def _overhang(sides: Sides, axis: int, size: int) -> int:
    """Elements of the last window after the map's end."""
    return (sides.out[axis] - 1) * sides.stride[axis] + sides.kernel[axis] - sides.begin[axis] - size


def _unused(sides: Sides, image: Image) -> bool:
    """No window reaches the padding."""
    return all(sides.begin[i] == 0 and _overhang(sides, i, image.shape[i]) <= 0 for i in (0, 1))
