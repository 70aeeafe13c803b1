"""Walks over a file's operators in order: constants are computed, tensors followed, layers noted down."""

from __future__ import annotations

import keyword
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np

from bench.errors import ConfigError
from bench.model.from_onnx import constants
from bench.model.from_onnx.read import Content
from bench.model.from_onnx.values import (
    Affine,
    Array,
    Double,
    Image,
    Layer,
    Rectify,
    RefusedError,
    Step,
    Value,
    as_image,
)
from bench.model.graph import INPUT, Activation, Op, Shape, is_reserved

MALFORMED = (ValueError, TypeError, IndexError, KeyError, ArithmeticError, MemoryError, AttributeError)
"""What numpy and attribute access raise for an operator that is damaged in a way nobody foresaw."""

LONGEST_NAME = 48

_MODULES = ("Conv", "Gemm", "MatMul", "BatchNormalization", "MaxPool", "AveragePool", "GlobalAveragePool")
"""Operators that are layers in the framework: the path without the operator's own name is that of the layer."""

_TAKEN = "Conv, Gemm, MatMul, BatchNormalization, Relu, Clip 0..6, Add, pools, flattening"

_HINTS = {
    "quantis": "is already quantised; export the float32 model, the compiler quantises by itself",
    "flow": "is control flow; export a network without conditions and loops (torch: trace it)",
    "gate": "is no activation the compiler has; train the network with ReLU or ReLU6",
    "recurrent": "is recurrent; the compiler takes convolutions and dense layers",
}
_KINDS = {
    "If": "flow",
    "Loop": "flow",
    "Scan": "flow",
    "SequenceMap": "flow",
    **dict.fromkeys(("LSTM", "GRU", "RNN"), "recurrent"),
    **dict.fromkeys(
        ("Sigmoid", "Tanh", "HardSwish", "HardSigmoid", "LeakyRelu", "PRelu", "Elu", "Selu", "Gelu", "Softplus",
         "Swish", "Mish", "Erf", "Celu", "ThresholdedRelu"), "gate"),
}  # fmt: skip


class Walk:
    """The state of a walk. `layers` are in an order in which they can be computed."""

    def __init__(self, content: Content, batch: int, notes: list[str]) -> None:
        self.path: Path = content.path
        self.opset = content.opset
        self.batch = batch
        self.notes = notes
        self.output_name = content.output_name
        self.constants: dict[str, Array] = dict(content.constants)
        self.values: dict[str, Value] = {}
        self.layers: dict[str, Layer] = {}
        self.input_shape: Shape = (0, 0, 0)
        self.read = {name for step in content.steps for name in step.inputs} | {content.output_name}

    def run(self, steps: tuple[Step, ...], operators: dict[str, Callable[[Walk, Step], None]]) -> None:
        """Takes every operator. Raises ConfigError that names file and node."""
        for step in steps:
            try:
                if not self.fold(step):
                    self._take(step, operators)
            except RefusedError as refusal:
                raise ConfigError(f"{self.path}: {step.label}: {refusal}") from None
            except MALFORMED as error:
                raise ConfigError(
                    f"{self.path}: {step.label}: malformed ({type(error).__name__}: {error}); export the model again"
                ) from error

    def fold(self, step: Step) -> bool:
        """Computes an operator whose result is known; False where it is not."""
        known = [name == "" or name in self.constants for name in step.inputs]
        if step.op == "Shape" and step.inputs[0] in self.values:
            result: Array | None = constants.shape_of(self.values[step.inputs[0]].index.shape, step)
        elif not all(known):
            return False
        else:
            inputs = [self.constants.get(name) if name else None for name in step.inputs]
            result = constants.evaluate(step, inputs, self.opset)
        if result is None:
            return False
        self.constants[step.outputs[0]] = result
        return True

    def _take(self, step: Step, operators: dict[str, Callable[[Walk, Step], None]]) -> None:
        if step.op not in operators:
            kind = (
                "quantis" if "Quantize" in step.op or re.search("^QLinear|Integer$", step.op) else _KINDS.get(step.op)
            )
            raise RefusedError(_HINTS[kind] if kind else f"is not an operator the compiler takes ({_TAKEN})")
        if extra := [name for name in step.outputs[1:] if name in self.read]:
            raise RefusedError(f"its second output {extra[0]!r} is used; only the first is computed")
        operators[step.op](self, step)

    # What operators ask.

    def value(self, step: Step, position: int = 0, *, ended: bool = False) -> Value:
        """An input that depends on the sample. Raises RefusedError."""
        name = step.inputs[position] if position < len(step.inputs) else ""
        if name in self.constants:
            raise RefusedError(f"its input {position} ({name!r}) is a constant where the network's data is wanted")
        if name not in self.values:
            raise RefusedError(f"its input {position} ({name!r}) is not there")
        value = self.values[name]
        if value.ended and not ended:
            raise RefusedError(f"comes after {value.ended}; a softmax is taken at the end of the network alone")
        return value

    def is_constant(self, step: Step, position: int) -> bool:
        """An input is there and known."""
        return position < len(step.inputs) and step.inputs[position] in self.constants

    def has(self, step: Step, position: int) -> bool:
        """An optional input is there."""
        return position < len(step.inputs) and step.inputs[position] != ""

    def known(self, step: Step) -> list[Array | None]:
        """All inputs, None for those that are absent or depend on the sample."""
        return [self.constants.get(name) for name in step.inputs]

    def constant(self, step: Step, position: int, what: str) -> Array:
        """An input that is known. Raises RefusedError."""
        name = step.inputs[position] if position < len(step.inputs) else ""
        if name not in self.constants:
            raise RefusedError(f"its {what} ({name!r}) are not constants of the file")
        return self.constants[name]

    def parameters(self, step: Step, position: int, what: str) -> Double:
        """Weights: known, of a float type, finite. Raises RefusedError."""
        array = self.constant(step, position, what)
        name = step.inputs[position]
        if array.dtype.kind != "f":
            raise RefusedError(f"its {what} ({name!r}) are {array.dtype}; export the model with float32 weights")
        if not np.isfinite(array).all():
            raise RefusedError(f"its {what} ({name!r}) hold NaN or infinity: the training has diverged; train it again")
        return array.astype(np.float64)

    def image(self, step: Step, position: int = 0) -> Image:
        """An input as a map. Raises RefusedError."""
        value = self.value(step, position)
        return as_image(value, self.shape_of(value.source))

    def shape_of(self, source: str) -> Shape:
        """Of a layer's output, or of INPUT."""
        return self.input_shape if source == INPUT else self.layers[source].shape

    # What operators say.

    def give(self, step: Step, value: Value) -> None:
        """What an operator writes."""
        self.values[step.outputs[0]] = value

    def add(
        self,
        step: Step,
        op: Op | Affine | Rectify,
        inputs: list[str],
        shape: Shape,
        weights: Double | None = None,
        bias: Double | None = None,
        activation: Activation = "linear",
    ) -> str:
        """Notes a layer down; its name."""
        name = identifier(step, self.layers)
        self.layers[name] = Layer(name, op, inputs, shape, step.origin, activation, weights, bias)
        return name


def identifier(step: Step, taken: dict[str, Layer]) -> str:
    """A name in C++ and Python from the node's, which is a path: /layer1/layer1.0/conv1/Conv -> layer1_0_conv1."""
    path = (step.name or next(iter(step.outputs), "")).removeprefix("node_")
    parts = [part for part in re.split("[/:]+", path) if part]
    if len(parts) > 1 and step.op in _MODULES and parts[-1].startswith(step.op):
        parts.pop()
    parts = [part for i, part in enumerate(parts) if i + 1 == len(parts) or not parts[i + 1].startswith(part)]
    base = re.sub("[^0-9a-z]+", "_", "_".join(parts).lower()).strip("_")
    if len(base) > LONGEST_NAME:
        base = base[-LONGEST_NAME:].partition("_")[2] or base[-LONGEST_NAME:]
    if not base or base[0].isdigit():
        base = f"{re.sub('[^0-9a-z]+', '', step.op.lower()) or 'node'}_{base}".rstrip("_")
    if keyword.iskeyword(base) or is_reserved(base):
        base = f"layer_{base}"
    name, count = base, 1
    while name in taken:
        count += 1
        name = f"{base}_{count}"
    return name
