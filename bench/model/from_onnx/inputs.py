"""What the network's input is as a map [h][w][c]: the file only gives a tensor, channels first or last or flat."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from bench.errors import ConfigError
from bench.model.from_onnx.operators import WINDOWS
from bench.model.from_onnx.pointwise import POINTWISE
from bench.model.from_onnx.read import Content, Dim
from bench.model.from_onnx.values import LARGEST_MAP, Index, RefusedError, Value, channels_first, positions, trim
from bench.model.from_onnx.views import VIEWS
from bench.model.from_onnx.walk import MALFORMED, Walk
from bench.model.graph import INPUT, Shape

Dims = tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Input:
    """The sample's shape, where the elements of the file's input lie in it, and the batch the file was made for."""

    shape: Shape
    value: Value
    batch: int


def find_input(content: Content, wanted: Shape | None, notes: list[str]) -> Input:
    """Decides what the sample is; `wanted` fills open dimensions and settles doubts. Raises ConfigError."""
    label = f"{content.path}: input {content.input_name!r} of shape {list(content.input_dims)}"
    if len(content.input_dims) < 2:
        raise ConfigError(f"{label}: has no batch axis; export with the batch in front, e.g. [1, 3, 32, 32]")
    if len(content.input_dims) > 4:
        raise ConfigError(f"{label}: has more than height, width and channels; 1-D and 2-D networks are taken")
    first, *rest = content.input_dims
    batch = first if isinstance(first, int) and first > 0 else 1
    if batch > 1:
        notes.append(f"{label}: made for batches of {batch}; taken as 1, as training is one sample at a time")
    for dims in _candidates(label, tuple(rest), wanted):
        if math.prod(dims) > LARGEST_MAP or min(dims) < 1:
            raise ConfigError(f"{label}: {math.prod(dims)} elements; 1 to {LARGEST_MAP} are possible: change it")
        seen = _first_image(content, dims, batch)
        found = _layout(dims, seen, wanted)
        if found is not None:
            return Input(found[0], Value(INPUT, found[1]), batch)
    raise ConfigError(f"{label}: does not go with the input shape {wanted} (height, width, channels) asked for")


def _candidates(label: str, dims: tuple[Dim, ...], wanted: Shape | None) -> list[Dims]:
    """The dimensions without the batch, all fixed: as they are, or filled from the shape asked for."""
    if all(isinstance(dim, int) and dim > 0 for dim in dims):
        return [tuple(int(dim) for dim in dims)]
    if wanted is None:
        raise ConfigError(
            f"{label}: only the batch may be open; export with fixed sizes, or give the sample's shape: "
            "--input HEIGHTxWIDTHxCHANNELS (in an experiment: input = [height, width, channels])"
        )
    height, width, channels = wanted
    full: dict[int, list[Dims]] = {
        1: [(height * width * channels,)],
        2: [(channels, width), (width, channels), (height, width)],
        3: [(channels, height, width), (height, width, channels)],
    }
    return [
        option
        for option in full[len(dims)]
        if math.prod(option) == math.prod(wanted)
        and all(not isinstance(dim, int) or dim in (0, size) for dim, size in zip(dims, option, strict=True))
    ]


def _layout(dims: Dims, seen: Index | None, wanted: Shape | None) -> tuple[Shape, Index] | None:
    """The sample's shape and index [1, *dims]; None where that is not the shape asked for.

    `seen`: element numbers (row by row in the file's input) as [1, C, H, W] where the first operator that walks over
    a map meets them. The sample is then that map, channels last. Without one (a multilayer perceptron) the sample's
    order is the file's, but for three axes with few in front, which are channels first.
    """
    if seen is not None:
        shape = (seen.shape[2], seen.shape[3], seen.shape[1])
        index = np.empty(math.prod(dims), np.int32)
        index[seen.ravel()] = positions(shape).ravel()
        if wanted is None or wanted == shape:
            return shape, index.reshape(1, *dims)
        if wanted != (shape[1], shape[0], shape[2]) or 1 not in shape[:2]:
            return None
        return wanted, index.reshape(1, *dims)  # a series: height 1 or width 1, the same in memory
    plain = np.arange(math.prod(dims), dtype=np.int32).reshape(1, *dims)
    if len(dims) == 3:
        first, last = (dims[1], dims[2], dims[0]), (dims[0], dims[1], dims[2])
        if wanted == first or (wanted is None and not (dims[2] in (1, 3) and dims[0] not in (1, 3))):
            return first, positions(first)
        return (last, plain) if wanted in (None, last) else None
    if wanted is not None:
        return (wanted, plain) if math.prod(wanted) == math.prod(dims) else None
    return ((1, 1, dims[0]) if len(dims) == 1 else (dims[0], dims[1], 1)), plain


def _first_image(content: Content, dims: Dims, batch: int) -> Index | None:
    """Follows the input through views and operators on single elements to the first that walks over a map.

    What is wrong on the way is left to the walk proper, which names the node.
    """
    walk = Walk(content, batch, [])
    numbers = np.arange(math.prod(dims), dtype=np.int32).reshape(1, *dims)
    walk.values[content.input_name] = Value(INPUT, numbers)
    for step in content.steps:
        try:
            if walk.fold(step):
                continue
            data = [name for name in step.inputs if name in walk.values]
            if len(data) != 1 or not step.outputs:
                continue
            if step.op in VIEWS:
                VIEWS[step.op](walk, step)
            elif step.op in POINTWISE:
                walk.give(step, walk.values[data[0]])
            elif step.op in WINDOWS:
                core = trim(channels_first(walk.values[data[0]].index))[0]
                return core if core.size == numbers.size else None
        except (RefusedError, *MALFORMED):
            continue
    return None
