"""Operators that compute nothing: they rearrange a tensor, pad it, or hand it on."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

import numpy as np

from bench.model.from_onnx import constants
from bench.model.from_onnx.values import LARGEST_MAP, LOWEST, ZERO, Index, RefusedError, Step, Value
from bench.model.from_onnx.walk import Walk


def _view(change: Callable[[Walk, Step, Index], Index]) -> Callable[[Walk, Step], None]:
    def operator(walk: Walk, step: Step) -> None:
        value = walk.value(step, ended=True)
        walk.give(step, dataclasses.replace(value, index=change(walk, step, value.index)))

    return operator


def _same(_walk: Walk, _step: Step, index: Index) -> Index:
    return index


def _reshape(walk: Walk, step: Step, index: Index) -> Index:
    wanted = walk.constant(step, 1, "dimensions")
    return index.reshape(constants.reshaped(index.shape, step, wanted, walk.batch))


def _flatten(_walk: Walk, step: Step, index: Index) -> Index:
    return index.reshape(constants.flat(index.shape, step))


def _transpose(_walk: Walk, step: Step, index: Index) -> Index:
    return index.transpose(constants.permutation(step, index.ndim))


def _squeeze(walk: Walk, step: Step, index: Index) -> Index:
    return np.squeeze(index, constants.axes_of(step, walk.known(step)))


def _unsqueeze(walk: Walk, step: Step, index: Index) -> Index:
    return constants.unsqueezed(index, constants.axes_of(step, walk.known(step)))


def _dropout(walk: Walk, step: Step, index: Index) -> Index:
    if walk.has(step, 2) and walk.constant(step, 2, "training mode").any():
        raise RefusedError("drops elements at random; export the network for inference (torch: model.eval())")
    return index


def _cast(_walk: Walk, step: Step, index: Index) -> Index:
    if step.whole("to", 0) not in (1, 10, 11, 16):
        raise RefusedError("casts the network's data to integers; export it in float32")
    return index


def _pad(walk: Walk, step: Step) -> None:
    value = walk.value(step)
    index = value.index
    if step.text("mode", "constant") != "constant":
        raise RefusedError(f"pads by {step.text('mode', 'constant')}; padding by zeros is taken")
    if "pads" in step.attributes:
        amounts, fill = step.wholes("pads", ()), step.real("value", 0.0)
    else:
        amounts = tuple(int(amount) for amount in walk.constant(step, 1, "amounts").ravel())
        fill = float(walk.constant(step, 2, "value").ravel()[0]) if walk.has(step, 2) else 0.0
    axes = list(range(index.ndim))
    if walk.has(step, 3):
        axes = [int(axis) for axis in walk.constant(step, 3, "axes").ravel()]
    if len(amounts) != 2 * len(axes) or min(amounts, default=0) < 0:
        raise RefusedError(f"pads by {list(amounts)}: two amounts an axis are wanted, none negative")
    if not (fill == 0 or fill <= -1e30):
        raise RefusedError(f"pads with {fill:g}; padding by zeros is taken")
    widths = [(0, 0)] * index.ndim
    for i, axis in enumerate(axes):
        widths[axis] = (amounts[i], amounts[i + len(axes)])
    if math.prod(size + sum(width) for size, width in zip(index.shape, widths, strict=True)) > LARGEST_MAP:
        raise RefusedError("pads to a map that no microcontroller holds")
    padded = np.pad(index, widths, constant_values=ZERO if fill == 0 else LOWEST)
    walk.give(step, Value(value.source, padded))


VIEWS: dict[str, Callable[[Walk, Step], None]] = {
    "Cast": _view(_cast),
    "Dropout": _view(_dropout),
    "Flatten": _view(_flatten),
    "Identity": _view(_same),
    "Pad": _pad,
    "Reshape": _view(_reshape),
    "Squeeze": _view(_squeeze),
    "Transpose": _view(_transpose),
    "Unsqueeze": _view(_unsqueeze),
}
