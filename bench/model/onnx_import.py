"""Networks from ONNX files, as PyTorch and Keras export them.

Taken: Conv (1-D, 2-D, strided, padded, grouped, depthwise), Gemm, MatMul, BatchNormalization, Relu, Clip to 0..6, Add,
pools, means over height and width, nearest-neighbour Resize, and what rearranges tensors or can be computed
before. The rest is refused with the node's name. Batch normalisations and constants are folded in double precision.
"""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import get_args

import numpy as np

from bench.errors import ConfigError
from bench.model.from_onnx.fold import FoldError, check_finite, fold
from bench.model.from_onnx.inputs import find_input
from bench.model.from_onnx.operators import OPERATORS
from bench.model.from_onnx.read import read
from bench.model.from_onnx.values import Affine, Layer, Rectify, RefusedError, Value
from bench.model.from_onnx.walk import Walk
from bench.model.graph import Graph, Loss, Node, Shape


def load_onnx(
    path: Path, *, loss: str | None = None, input_shape: Shape | None = None, notes: list[str] | None = None
) -> Graph:
    """The network in a file, batch 1, channels last.

    Args:
        path: the file; weights in external files lie beside it.
        loss: overrides what follows from the shapes: mean squared error where the output has as many elements as the
            input (an autoencoder), softmax cross-entropy otherwise.
        input_shape: height, width, channels of a sample; needed where the file leaves them open.
        notes: gets a line for everything that was left out or assumed.

    Raises:
        ConfigError: whatever is wrong with the file or not possible, naming file and node, and what to do.
    """
    notes = [] if notes is None else notes
    if loss is not None and loss not in get_args(Loss):
        raise ConfigError(f"{path}: loss {loss!r} is not known: {', '.join(get_args(Loss))}")
    if input_shape is not None and (len(input_shape) != 3 or min(input_shape) < 1):
        raise ConfigError(f"{path}: input shape {input_shape}: height, width and channels are wanted, all positive")
    content = read(path)
    given = find_input(content, input_shape, notes)
    walk = Walk(content, given.batch, notes)
    walk.input_shape = given.shape
    walk.values[content.input_name] = given.value
    walk.run(content.steps, OPERATORS)
    output = walk.values.get(content.output_name)
    if output is None or not walk.layers:
        raise ConfigError(f"{path}: output {content.output_name!r} does not depend on the input through any layer")
    if (output.index < 0).any():
        raise ConfigError(f"{path}: output {content.output_name!r} is padded; a Pad belongs to the layer after it")
    chosen = _loss(path, loss, output, given.shape, notes)
    if chosen == "softmax_cross_entropy" and (output.index.reshape(-1) != np.arange(output.index.size)).any():
        raise ConfigError(
            f"{path}: output {content.output_name!r} flattens a map of several positions: its classes would change "
            "their numbers, as maps lie channels last here; let the model end in one position, or in a Gemm"
        )
    try:
        layers = fold(walk.layers, given.shape, output.source, notes)
        check_finite(layers)
    except FoldError as error:
        raise ConfigError(f"{path}: node {error.layer.origin!r}: {error}") from None
    except RefusedError as refusal:
        raise ConfigError(f"{path}: {refusal}") from None
    try:
        return Graph(_model_name(path), given.shape, tuple(_node(layer) for layer in layers), chosen)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None


def _loss(path: Path, asked: str | None, output: Value, input_shape: Shape, notes: list[str]) -> Loss:
    """The loss, and a note of what it contains."""
    same = output.index.size == math.prod(input_shape)
    chosen: Loss = "mean_squared_error" if same and not output.ended else "softmax_cross_entropy"
    if asked is not None:
        chosen = "mean_squared_error" if asked == "mean_squared_error" else "softmax_cross_entropy"
    if output.ended and chosen == "mean_squared_error":
        raise ConfigError(
            f"{path}: ends in {output.ended}, which mean squared error does not contain: export the network without "
            "it, or take --loss softmax_cross_entropy"
        )
    if output.ended:
        notes.append(f"{path}: {output.ended} is left out: the loss softmax_cross_entropy contains it")
    return chosen


def _node(layer: Layer) -> Node:
    assert not isinstance(layer.op, Affine | Rectify)
    weights, bias = (
        None if values is None else np.ascontiguousarray(values, dtype=np.float32)
        for values in (layer.weights, layer.bias)
    )
    return Node(layer.name, layer.op, tuple(layer.inputs), layer.shape, layer.activation, weights, bias, layer.origin)


def _model_name(path: Path) -> str:
    """An identifier from the file's name."""
    name = re.sub("[^0-9a-z]+", "_", path.stem.lower()).strip("_")
    return name if name[:1].isalpha() else f"model_{name}".rstrip("_")
