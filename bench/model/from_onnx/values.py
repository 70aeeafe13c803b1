"""What the import follows through a file: where each element of each tensor lies in the map of the layer that wrote it.

ONNX has channels first, a network here has them last, and exporters put transposes and reshapes wherever they like. So
a tensor is followed as an array of its own shape that holds, for every element, the position in its layer's map
[h][w][c]. Transposing, reshaping and padding the tensor is then the same operation on that array, and every layout,
however it came about, is either recognised exactly where an operator needs it or refused.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.model.graph import INPUT, Activation, Op, Pair, Shape

Index = NDArray[np.int32]
Array = NDArray[Any]
Double = NDArray[np.float64]

ZERO, LOWEST = -1, -2
"""Positions of elements that lie in no map: padding by zeros, and by minus infinity."""

LARGEST_MAP = 1 << 22
"""Elements. Beyond, no microcontroller; it also bounds what a damaged file can make the import allocate."""


class RefusedError(Exception):
    """What an operator cannot take, and what to do; the walk adds file and node."""


@dataclass(frozen=True, eq=False)
class Value:
    """A tensor of the file: `index` has its shape (batch axis included) and holds positions in the map of `source`.

    `ended` names the operator at the end of the network that the loss contains; nothing may follow it.
    """

    source: str
    index: Index
    ended: str = ""


@dataclass(frozen=True)
class Step:
    """One operator of the file. Absent optional inputs are empty strings."""

    op: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: dict[str, Any] = field(default_factory=dict)

    @property
    def label(self) -> str:
        """For messages."""
        return f"node {self.name or '(unnamed)'!r} ({self.op}, output {next(iter(self.outputs), '')!r})"

    @property
    def origin(self) -> str:
        """What a layer made of it is called in messages."""
        return self.name or next(iter(self.outputs), self.op)

    def whole(self, name: str, default: int) -> int:
        """An integer attribute."""
        return int(self.attributes.get(name, default))

    def wholes(self, name: str, default: tuple[int, ...]) -> tuple[int, ...]:
        """An attribute that is a list of integers."""
        return tuple(int(value) for value in self.attributes.get(name, default))

    def real(self, name: str, default: float) -> float:
        """A float attribute."""
        return float(self.attributes.get(name, default))

    def text(self, name: str, default: str) -> str:
        """A string attribute."""
        value = self.attributes.get(name, default)
        return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


@dataclass(frozen=True, eq=False)
class Affine:
    """y = scale * x + shift, both [h, w, c]: a batch normalisation, a bias, a normalisation of the input."""

    scale: Double
    shift: Double

    def per_channel(self) -> tuple[Double, Double] | None:
        """Scale and shift [c] where they are the same at all positions."""
        scale, shift = self.scale[0, 0], self.shift[0, 0]
        return (scale, shift) if (self.scale == scale).all() and (self.shift == shift).all() else None


@dataclass(frozen=True)
class Rectify:
    """An activation that no layer carries yet."""

    activation: Activation


@dataclass(eq=False)
class Layer:
    """A node in the making. Weights [out_c, kernel_h, kernel_w, in_c / groups] and bias [out_c] in double precision."""

    name: str
    op: Op | Affine | Rectify
    inputs: list[str]
    shape: Shape
    origin: str
    activation: Activation = "linear"
    weights: Double | None = None
    bias: Double | None = None


@dataclass(frozen=True)
class Image:
    """A tensor [1, C, H, W] seen as a map, as an operator that walks over it needs it.

    `pads`: of the padding that lies around it, top, left, bottom, right. `turned`: the map in memory is [w][h][c].
    """

    source: str
    shape: Shape
    pads: tuple[int, int, int, int]
    fill: int
    turned: bool

    def own(self, pair: Pair) -> Pair:
        """A pair along height and width as the operator sees them, along the map's own."""
        return pair[::-1] if self.turned else pair


@lru_cache(maxsize=256)
def positions(shape: Shape) -> Index:
    """Index [1, C, H, W] of a whole map [h][w][c] with channels first. Raises RefusedError: too large a map."""
    if min(shape) < 1:
        raise RefusedError(f"its output has an empty side: height {shape[0]}, width {shape[1]}, channels {shape[2]}")
    if math.prod(shape) > LARGEST_MAP:
        raise RefusedError(f"a map of {math.prod(shape)} elements: no microcontroller holds it; make the input smaller")
    index = np.arange(math.prod(shape), dtype=np.int32).reshape(shape).transpose(2, 0, 1)[None]
    index.flags.writeable = False
    return index


def as_image(value: Value, source: Shape) -> Image:
    """Recognises a map [1, C, H, W], or [1, C, W] of height 1, possibly with padding around it. Raises RefusedError."""
    index, pads, fill = trim(channels_first(value.index))
    shape = (index.shape[2], index.shape[3], index.shape[1])
    for turned, seen in ((False, index), (True, index.swapaxes(2, 3))):
        own = (seen.shape[2], seen.shape[3], seen.shape[1])
        if own == source and np.array_equal(seen, positions(source)):
            return Image(value.source, shape, pads, fill, turned)
    raise RefusedError(
        f"sees its input as height {shape[0]}, width {shape[1]}, channels {shape[2]}, which is a rearrangement of the "
        f"map {source} before it; only flattening before a dense layer and transposes between layouts are taken"
    )


def channels_first(index: Index) -> Index:
    """As [1, C, H, W]. Raises RefusedError for what is not a batch of one map."""
    if index.ndim == 3:
        index = index[:, :, None, :]
    if index.ndim != 4 or index.shape[0] != 1:
        raise RefusedError(f"its input has shape {list(index.shape)}; 1-D and 2-D maps are taken, with a batch of 1")
    return index


def trim(index: Index) -> tuple[Index, tuple[int, int, int, int], int]:
    """Takes the padding off [1, C, H, W]: what is inside; the padding's widths; with what. Raises RefusedError."""
    inside = index >= 0
    if inside.all():
        return index, (0, 0, 0, 0), ZERO
    fills = np.unique(index[~inside])
    if not inside.any() or len(fills) > 1:
        raise RefusedError("its input consists of padding, or of several kinds of it")
    rows, columns = (np.flatnonzero(inside.any(axis=axes)) for axes in ((0, 1, 3), (0, 1, 2)))
    top, bottom, left, right = int(rows[0]), int(rows[-1]) + 1, int(columns[0]), int(columns[-1]) + 1
    core = index[:, :, top:bottom, left:right]
    if (core < 0).any():
        raise RefusedError(
            "its input is padded along the channels, or within the map; only rows and columns around it are"
        )
    return core, (top, left, index.shape[2] - bottom, index.shape[3] - right), int(fills[0])


def bound(layers: dict[str, Layer], name: str) -> Activation:
    """What is certain of a layer's output: at least 0 (relu), between 0 and 6 (relu6), or nothing (linear)."""
    while name != INPUT:
        layer = layers[name]
        if isinstance(layer.op, Rectify):
            return layer.op.activation
        if layer.weights is not None or isinstance(layer.op, Affine) or len(layer.inputs) != 1:
            return layer.activation
        name = layer.inputs[0]
    return "linear"
