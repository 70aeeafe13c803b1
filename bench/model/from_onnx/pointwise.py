"""Dense layers, and operators that take each element by itself."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

import numpy as np

from bench.model.from_onnx.values import Affine, Double, Index, Rectify, RefusedError, Step, Value
from bench.model.from_onnx.walk import Walk
from bench.model.graph import Activation, Conv2d
from bench.model.graph import Add as Sum

_NO_LIMIT = 1e30
"""Above, a Clip's bound is none (exporters write the largest float)."""


def gemm(walk: Walk, step: Step) -> None:
    """Operator Gemm: y = alpha * x * B + beta * C."""
    if step.whole("transA", 0):
        raise RefusedError("transposes its input (transA); a batch of vectors is taken")
    weights = walk.parameters(step, 1, "weights") * step.real("alpha", 1.0)
    if weights.ndim != 2:
        raise RefusedError(f"its weights have shape {list(weights.shape)}; a matrix is wanted")
    weights = weights if step.whole("transB", 0) else weights.T
    bias = np.zeros(len(weights))
    if walk.has(step, 2):
        bias = np.broadcast_to(walk.parameters(step, 2, "bias") * step.real("beta", 1.0), (1, len(weights)))[0]
    _dense(walk, step, weights, bias)


def matmul(walk: Walk, step: Step) -> None:
    """Operator MatMul with a constant on the right."""
    if walk.is_constant(step, 0) or not walk.is_constant(step, 1):
        raise RefusedError(
            "multiplies two computed tensors, or a constant from the left; a dense layer is taken: data times weights"
        )
    weights = walk.parameters(step, 1, "weights")
    if weights.ndim != 2:
        raise RefusedError(f"its weights have shape {list(weights.shape)}; a matrix is wanted")
    _dense(walk, step, weights.T, np.zeros(weights.shape[1]))


def _dense(walk: Walk, step: Step, weights: Double, bias: Double) -> None:
    """Weights [out, in]. Over a whole map: a kernel that covers it. Over the channels at each position: 1x1."""
    value = walk.value(step)
    index, (outputs, taken) = value.index, weights.shape
    height, width, channels = walk.shape_of(value.source)
    if index.ndim < 1 or index.shape[-1] != taken:
        raise RefusedError(f"its weights take {taken} inputs, it has {list(index.shape)}")
    if (index < 0).any():
        raise RefusedError("its input is padded; pad before convolutions and pools alone")
    if index.size == taken and taken == height * width * channels:
        # Weight k belongs to the element at position index[k] of the map: the permutation of CHW to HWC, or any other.
        permuted = np.empty_like(weights)
        permuted[:, index.ravel()] = weights
        op, shape = Conv2d((height, width)), (1, 1, outputs)
        permuted = permuted.reshape(outputs, height, width, channels)
    elif taken == channels and np.array_equal(index.ravel(), np.arange(height * width * channels)):
        op, shape = Conv2d((1, 1)), (height, width, outputs)
        permuted = weights.reshape(outputs, 1, 1, channels)
    else:
        raise RefusedError(
            f"is a dense layer over part of its input of shape {list(index.shape)}; one over the flattened map, or "
            "over the channels at every position (channels last), is taken"
        )
    name = walk.add(step, op, [value.source], shape, permuted, bias)
    walk.give(step, Value(name, np.arange(math.prod(shape), dtype=np.int32).reshape(*index.shape[:-1], outputs)))


def batch_normalization(walk: Walk, step: Step) -> None:
    """Operator BatchNormalization at inference: y = (x - mean) / sqrt(variance + epsilon) * gamma + beta."""
    if step.whole("training_mode", 0) or step.whole("spatial", 1) != 1:
        raise RefusedError("normalises as in training; export the network for inference (torch: model.eval())")
    rank = walk.value(step).index.ndim
    gamma, beta, mean, variance = (
        walk.parameters(step, i, what).reshape([-1] + [1] * (rank - 2))
        for i, what in enumerate(("scale", "shift", "mean", "variance"), 1)
    )
    spread = variance + step.real("epsilon", 1e-5)
    if (spread <= 0).any():
        raise RefusedError("has a variance that is not positive: the training has diverged, or the file is damaged")
    scale = gamma / np.sqrt(spread)
    _affine(walk, step, walk.value(step), scale, beta - mean * scale)


def add(walk: Walk, step: Step) -> None:
    """Operators Add and Sum: of maps, or of a map and a constant (a bias)."""
    if len(step.inputs) < 2:
        walk.give(step, walk.value(step))
        return
    if step.op == "Add" and (walk.is_constant(step, 0) or walk.is_constant(step, 1)):
        constant = 0 if walk.is_constant(step, 0) else 1
        _affine(walk, step, walk.value(step, 1 - constant), np.ones(()), walk.parameters(step, constant, "summand"))
        return
    total = walk.value(step, 0)
    for i in range(1, len(step.inputs)):
        other = walk.value(step, i)
        if not np.array_equal(total.index, other.index) or (total.index < 0).any():
            raise RefusedError(
                f"adds tensors of shapes {list(total.index.shape)} and {list(other.index.shape)}"
                f"{' in different layouts' if total.index.shape == other.index.shape else ''}; equal maps are added"
            )
        if total.source == other.source:
            _affine(walk, step, total, np.full((), 2.0), np.zeros(()))
            total = walk.values[step.outputs[0]]
            continue
        name = walk.add(step, Sum(), [total.source, other.source], walk.shape_of(total.source))
        total = Value(name, total.index)
    walk.give(step, total)


def arithmetic(walk: Walk, step: Step) -> None:
    """Operators Mul, Div and Sub with a constant: normalisation of the input, or a normalisation taken apart."""
    if walk.is_constant(step, 0) == walk.is_constant(step, 1):
        raise RefusedError("computes with two maps; of these only sums are taken")
    first = walk.is_constant(step, 0)
    constant = walk.parameters(step, 0 if first else 1, "operand")
    value = walk.value(step, 1 if first else 0)
    one, zero = np.ones(()), np.zeros(())
    if step.op == "Mul":
        _affine(walk, step, value, constant, zero)
    elif step.op == "Sub":
        _affine(walk, step, value, *((-one, constant) if first else (one, -constant)))
    elif first or not constant.all():
        raise RefusedError("divides a constant by a map, or by zero; division by constants is taken")
    else:
        _affine(walk, step, value, 1 / constant, zero)


def _affine(walk: Walk, step: Step, value: Value, scale: Double, shift: Double) -> None:
    """Scale and shift broadcast to the tensor's shape, put where its elements lie in the map."""
    index: Index = value.index
    shape = walk.shape_of(value.source)
    if (index < 0).any() or index.size != math.prod(shape):
        raise RefusedError("comes after a Pad; put the Pad right before the convolution or pool it belongs to")
    try:
        scale, shift = (np.broadcast_to(operand, index.shape) for operand in (scale, shift))
    except ValueError:
        raise RefusedError(f"its constant does not fit its input of shape {list(index.shape)}") from None
    maps = []
    for operand in (scale, shift):
        laid = np.empty(index.size)
        laid[index.ravel()] = operand.ravel()
        maps.append(laid.reshape(shape))
    walk.give(step, Value(walk.add(step, Affine(*maps), [value.source], shape), index))


def relu(walk: Walk, step: Step) -> None:
    """Operator Relu."""
    _rectify(walk, step, "relu")


def clip(walk: Walk, step: Step) -> None:
    """Operator Clip, with bounds as attributes or as constants."""
    limits = []
    for i, (name, default) in enumerate((("min", -math.inf), ("max", math.inf)), 1):
        inside = walk.constant(step, i, f"{name} bound").ravel() if walk.has(step, i) else None
        limits.append(step.real(name, default) if inside is None else float(inside[0]))
    low, high = limits
    if low < -_NO_LIMIT and high > _NO_LIMIT:
        walk.give(step, walk.value(step))
    elif low == 0 and high > _NO_LIMIT:
        _rectify(walk, step, "relu")
    elif low == 0 and high == 6:
        _rectify(walk, step, "relu6")
    else:
        raise RefusedError(f"clips to {low:g}..{high:g}; 0..6 (ReLU6) and from 0 (ReLU) are taken")


def _rectify(walk: Walk, step: Step, activation: Activation) -> None:
    value = walk.value(step)
    same = [
        layer.name
        for layer in walk.layers.values()
        if isinstance(layer.op, Rectify) and layer.inputs == [value.source] and layer.op.activation == activation
    ]
    shape = walk.shape_of(value.source)
    name = same[0] if same else walk.add(step, Rectify(activation), [value.source], shape)
    walk.give(step, Value(name, value.index))  # zeros around the map stay zeros


def softmax(walk: Walk, step: Step) -> None:
    """Operators Softmax and LogSoftmax at the end: the loss contains them."""
    value = walk.value(step)
    index = value.index
    newer = walk.opset >= 13
    axis = step.whole("axis", -1 if newer else 1)
    if not -index.ndim <= axis < index.ndim:
        raise RefusedError(f"its axis {axis} does not exist")
    over = index.shape[axis] if newer else math.prod(index.shape[axis:])
    if over != index.size:
        raise RefusedError(f"is over {over} of {index.size} outputs; one over all outputs is taken")
    walk.give(step, dataclasses.replace(value, ended=f"{step.op} {step.origin!r}"))


POINTWISE: dict[str, Callable[[Walk, Step], None]] = {
    "Add": add,
    "BatchNormalization": batch_normalization,
    "Clip": clip,
    "Div": arithmetic,
    "Mul": arithmetic,
    "Relu": relu,
    "Sub": arithmetic,
    "Sum": add,
}
DENSE: dict[str, Callable[[Walk, Step], None]] = {
    "Gemm": gemm,
    "LogSoftmax": softmax,
    "MatMul": matmul,
    "Softmax": softmax,
}
