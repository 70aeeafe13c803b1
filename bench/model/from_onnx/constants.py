"""Operators whose inputs are all known: exporters compute shapes and weights with them. Numpy, bounded in size."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from bench.model.from_onnx.values import Array, RefusedError, Step

LARGEST_RESULT = 1 << 24
"""Elements: the parameters of the largest model taken."""


def evaluate(step: Step, inputs: list[Array | None], opset: int) -> Array | None:
    """The result of an operator on constants (None: an absent input); None for operators that are not folded.

    Raises RefusedError, and what numpy raises for inputs that do not fit together.
    """
    fold = _FOLDED.get(step.op)
    return None if fold is None else fold(step, inputs, opset)


def given(inputs: list[Array | None], position: int) -> Array:
    """An input that must be there. Raises RefusedError."""
    if position >= len(inputs) or (array := inputs[position]) is None:
        raise RefusedError(f"its input {position} is missing")
    return array


def shape_of(shape: tuple[int, ...], step: Step) -> Array:
    """Operator Shape."""
    end = step.attributes.get("end")
    return np.asarray(shape[step.whole("start", 0) : None if end is None else int(end)], dtype=np.int64)


def reshaped(shape: tuple[int, ...], step: Step, wanted: Array, batch: int) -> tuple[int, ...]:
    """What operator Reshape makes of `shape`. A literal batch in front that does not fit is taken as 1."""
    keep = not step.whole("allowzero", 0)
    dims = [shape[i] if keep and dim == 0 else int(dim) for i, dim in enumerate(wanted.ravel())]
    size = math.prod(shape)
    if batch > 1 and dims and dims[0] == batch and -1 not in dims and math.prod(dims) == size * batch:
        dims[0] = 1
    if batch > 1 and dims and dims[0] == batch and -1 in dims and shape[0] == 1:
        dims[0] = 1
    return tuple(dims)


def axes_of(step: Step, inputs: list[Array | None]) -> tuple[int, ...] | None:
    """Axes, an attribute in older opsets and an input in newer ones; None where neither is given."""
    if "axes" in step.attributes:
        return step.wholes("axes", ())
    if len(inputs) > 1 and (axes := inputs[1]) is not None:
        return tuple(int(axis) for axis in axes.ravel())
    return None


def unsqueezed(array: Array, axes: tuple[int, ...] | None) -> Array:
    """Operator Unsqueeze."""
    if axes is None:
        raise RefusedError("its axes are missing")
    return np.expand_dims(array, axes)


def permutation(step: Step, rank: int) -> tuple[int, ...]:
    """Of operator Transpose."""
    return step.wholes("perm", tuple(reversed(range(rank))))


def flat(shape: tuple[int, ...], step: Step) -> tuple[int, int]:
    """The shape that operator Flatten gives."""
    axis = step.whole("axis", 1)
    if not -len(shape) <= axis <= len(shape):
        raise RefusedError(f"its axis {axis} does not exist")
    axis += len(shape) if axis < 0 else 0
    return math.prod(shape[:axis]), math.prod(shape[axis:])


def _binary(function: Callable[[Array, Array], Array]) -> Callable[[Step, list[Array | None], int], Array]:
    def fold(_step: Step, inputs: list[Array | None], _opset: int) -> Array:
        a, b = given(inputs, 0), given(inputs, 1)
        _bounded(math.prod(np.broadcast_shapes(a.shape, b.shape)))
        with np.errstate(all="ignore"):
            return np.asarray(function(a, b)).astype(a.dtype)

    return fold


def _unary(function: Callable[[Array], Array]) -> Callable[[Step, list[Array | None], int], Array]:
    def fold(_step: Step, inputs: list[Array | None], _opset: int) -> Array:
        array = given(inputs, 0)
        with np.errstate(all="ignore"):
            return np.asarray(function(array)).astype(array.dtype)

    return fold


def _divide(a: Array, b: Array) -> Array:
    if a.dtype.kind == "f":
        return np.asarray(a / b)
    if not np.all(b):
        raise RefusedError("divides by zero")
    return np.asarray(np.trunc(a / b))


def _constant(step: Step, _inputs: list[Array | None], _opset: int) -> Array:
    for name, dtype in (("value_float", np.float32), ("value_floats", np.float32), ("value_int", np.int64),
                        ("value_ints", np.int64), ("value", None)):  # fmt: skip
        if name in step.attributes:
            return np.asarray(step.attributes[name], dtype=dtype)
    raise RefusedError("holds neither numbers nor a tensor")


def _constant_of_shape(step: Step, inputs: list[Array | None], _opset: int) -> Array:
    shape = tuple(int(dim) for dim in given(inputs, 0).ravel())
    _bounded(math.prod(shape))
    value = np.asarray(step.attributes.get("value", np.zeros(1, np.float32))).ravel()
    return np.full(shape, value[0])


def _expand(_step: Step, inputs: list[Array | None], _opset: int) -> Array:
    array = given(inputs, 0)
    shape = np.broadcast_shapes(array.shape, tuple(int(dim) for dim in given(inputs, 1).ravel()))
    _bounded(math.prod(shape))
    return np.array(np.broadcast_to(array, shape))


def _cast(step: Step, inputs: list[Array | None], _opset: int) -> Array:
    kind = _CASTS.get(step.whole("to", 0))
    if kind is None:
        raise RefusedError("casts to a type that is not taken (float32, int32, int64, bool)")
    with np.errstate(all="ignore"):
        return given(inputs, 0).astype(kind)


def _gather(step: Step, inputs: list[Array | None], _opset: int) -> Array:
    array, indices = given(inputs, 0), given(inputs, 1)
    axis = step.whole("axis", 0)
    _bounded(array.size // max(1, array.shape[axis]) * indices.size)
    return np.take(array, indices.astype(np.int64), axis=axis)


def _concat(step: Step, inputs: list[Array | None], _opset: int) -> Array:
    return np.concatenate([given(inputs, i) for i in range(len(inputs))], axis=step.whole("axis", 0))


def _slice(step: Step, inputs: list[Array | None], opset: int) -> Array:
    array = given(inputs, 0)
    if opset < 10:
        starts, ends, axes = step.wholes("starts", ()), step.wholes("ends", ()), step.wholes("axes", ())
        steps: tuple[int, ...] = ()
    else:
        lists = [tuple(int(v) for v in a.ravel()) if a is not None else () for a in (inputs + [None] * 4)[1:5]]
        starts, ends, axes, steps = lists
    cut = [slice(None)] * array.ndim
    for i, start in enumerate(starts):
        cut[axes[i] if axes else i] = slice(start, ends[i], steps[i] if steps else 1)
    return np.asarray(array[tuple(cut)])


def _reduce_prod(step: Step, inputs: list[Array | None], _opset: int) -> Array:
    return np.asarray(np.prod(given(inputs, 0), axis=axes_of(step, inputs), keepdims=bool(step.whole("keepdims", 1))))


def _range(_step: Step, inputs: list[Array | None], _opset: int) -> Array:
    start, limit, delta = (given(inputs, i).item() for i in range(3))
    if not delta:
        raise RefusedError("counts in steps of zero")
    _bounded(int(abs((limit - start) / delta)))
    return np.arange(start, limit, delta, dtype=given(inputs, 0).dtype)


def _bounded(elements: int) -> None:
    if not 0 <= elements <= LARGEST_RESULT:
        raise RefusedError(f"makes a constant of {elements} elements, more than a model may have ({LARGEST_RESULT})")


_CASTS = {1: np.float32, 6: np.int32, 7: np.int64, 9: np.bool_, 10: np.float32, 11: np.float32}

_FOLDED: dict[str, Callable[[Step, list[Array | None], int], Array]] = {
    "Add": _binary(np.add),
    "Cast": _cast,
    "Concat": _concat,
    "Constant": _constant,
    "ConstantOfShape": _constant_of_shape,
    "Div": _binary(_divide),
    "Expand": _expand,
    "Flatten": lambda step, inputs, _: given(inputs, 0).reshape(flat(given(inputs, 0).shape, step)),
    "Gather": _gather,
    "Identity": lambda _step, inputs, _: given(inputs, 0),
    "Max": _binary(np.maximum),
    "Min": _binary(np.minimum),
    "Mul": _binary(np.multiply),
    "Neg": _unary(np.negative),
    "Range": _range,
    "Reciprocal": _unary(np.reciprocal),
    "ReduceProd": _reduce_prod,
    "Reshape": lambda step, inputs, _: given(inputs, 0).reshape(
        reshaped(given(inputs, 0).shape, step, given(inputs, 1), 1)
    ),
    "Shape": lambda step, inputs, _: shape_of(given(inputs, 0).shape, step),
    "Size": lambda _step, inputs, _: np.asarray(given(inputs, 0).size),
    "Slice": _slice,
    "Sqrt": _unary(np.sqrt),
    "Squeeze": lambda step, inputs, _: np.squeeze(given(inputs, 0), axes_of(step, inputs)),
    "Sub": _binary(np.subtract),
    "Transpose": lambda step, inputs, _: given(inputs, 0).transpose(permutation(step, given(inputs, 0).ndim)),
    "Unsqueeze": lambda step, inputs, _: unsqueezed(given(inputs, 0), axes_of(step, inputs)),
}
