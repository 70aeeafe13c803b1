"""Reads an ONNX file: limits, damage, external weights, versions. What comes out is safe to walk over."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.checker
import onnx.defs
import onnx.external_data_helper
import onnx.inliner
import onnx.numpy_helper
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

from bench.errors import ConfigError
from bench.model.from_onnx.values import Array, Step

LARGEST_MODEL = 64 << 20
"""Bytes of parameters (and of the file): more than the flash of any microcontroller."""

OLDEST_OPSET = 7
"""Before it, sums were broadcast by an attribute and batch normalisation was told by another that it is inference."""

FLOATS = ("float32", "float64", "float16", "bfloat16")

Dim = int | str
"""Of a tensor: a number, or the name of one that is not fixed."""


@dataclass(frozen=True, eq=False)
class Content:
    """What a file holds: one input, one output, initializers, operators in an order in which they can be computed."""

    path: Path
    opset: int
    input_name: str
    input_dims: tuple[Dim, ...]
    output_name: str
    constants: dict[str, Array]
    steps: tuple[Step, ...]


def read(path: Path) -> Content:
    """Reads and checks a file. Raises ConfigError."""
    model = _parse(path)
    _check_size(path, model)
    _load_external(path, model)
    opset = _check_versions(path, model)
    for info in model.graph.output:
        if info.type.HasField("tensor_type"):
            info.type.tensor_type.shape.SetInParent()  # the checker wants one; the import computes its own
    try:
        onnx.checker.check_model(model)
        if model.functions:
            model = onnx.inliner.inline_local_functions(model)
    except Exception as error:  # the checker is compiled: ValidationError, but also RuntimeError, ValueError, TypeError
        raise ConfigError(f"{path}: not a valid ONNX model: {_first_line(error)}; export it again") from error
    graph = model.graph
    if graph.sparse_initializer:
        raise ConfigError(f"{path}: has sparse weights; export it with dense ones")
    constants = {_text(tensor.name): array_of(path, tensor) for tensor in graph.initializer}
    inputs = [info for info in graph.input if _text(info.name) not in constants]
    for kind, infos in (("input", inputs), ("output", list(graph.output))):
        if len(infos) != 1:
            names = ", ".join(_text(info.name) for info in infos) or "none"
            raise ConfigError(f"{path}: has {len(infos)} {kind}s ({names}); export the network with one {kind}")
    steps = tuple(_step(path, node) for node in graph.node)
    return Content(
        path, opset, _text(inputs[0].name), _dims(path, inputs[0]), _text(graph.output[0].name), constants, steps
    )


def _parse(path: Path) -> onnx.ModelProto:
    try:
        if path.stat().st_size > LARGEST_MODEL:
            raise ConfigError(
                f"{path}: {path.stat().st_size >> 20} MB; no microcontroller holds a model of more than "
                f"{LARGEST_MODEL >> 20} MB"
            )
        data = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
    if not data:
        raise ConfigError(f"{path}: is empty; export the model again")
    try:
        model = onnx.load_model_from_string(data)
    except (DecodeError, ValueError, RuntimeError) as error:
        raise ConfigError(f"{path}: not an ONNX file, or cut off: {_first_line(error)}") from error
    if not model.HasField("graph"):
        raise ConfigError(f"{path}: not an ONNX file: it holds no graph")
    return model


def _tensors(model: onnx.ModelProto) -> Iterator[onnx.TensorProto]:
    yield from model.graph.initializer
    for node in (*model.graph.node, *(node for function in model.functions for node in function.node)):
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            yield from attribute.tensors


def _check_size(path: Path, model: onnx.ModelProto) -> None:
    total = 0
    for tensor in _tensors(model):
        if any(dim < 0 for dim in tensor.dims):
            raise ConfigError(f"{path}: tensor {tensor.name!r} has a negative dimension: the file is damaged")
        total += 4 * math.prod(tensor.dims)
    if total > LARGEST_MODEL:
        raise ConfigError(
            f"{path}: {total >> 20} MB of parameters in float32; no microcontroller holds more than "
            f"{LARGEST_MODEL >> 20} MB; take a smaller model"
        )


def _load_external(path: Path, model: onnx.ModelProto) -> None:
    """Weights in files beside the model. They may not lie outside its folder (the library checks)."""
    for tensor in _tensors(model):
        if not onnx.external_data_helper.uses_external_data(tensor):
            continue
        location = {entry.key: entry.value for entry in tensor.external_data}.get("location", "")
        try:
            onnx.external_data_helper.load_external_data_for_tensor(tensor, str(path.parent))
        except Exception as error:  # as of the checker
            raise ConfigError(
                f"{path}: the weights {tensor.name!r} lie in {location!r}, which cannot be read: copy that file next "
                f"to the model, or export with the weights inside ({_first_line(error)})"
            ) from error
        tensor.data_location = onnx.TensorProto.DEFAULT
        del tensor.external_data[:]


def _check_versions(path: Path, model: onnx.ModelProto) -> int:
    """The version of the standard operators."""
    if model.ir_version > onnx.IR_VERSION:
        raise ConfigError(
            f"{path}: ONNX IR version {model.ir_version}; {onnx.IR_VERSION} is the newest that onnx {onnx.__version__} "
            "reads: export for an older one, or update onnx"
        )
    versions = [entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")]
    newest = onnx.defs.onnx_opset_version()
    if len(versions) != 1 or not OLDEST_OPSET <= versions[0] <= newest:
        found = ", ".join(map(str, versions)) or "none"
        raise ConfigError(f"{path}: opset {found}; {OLDEST_OPSET} to {newest} are read: export with opset 17")
    return int(versions[0])


def array_of(path: Path, tensor: onnx.TensorProto) -> Array:
    """A tensor of the file; floats of any width as float32. Raises ConfigError."""
    if tensor.data_type == onnx.TensorProto.STRING:
        raise ConfigError(f"{path}: tensor {tensor.name!r} holds text; networks of numbers are taken")
    try:
        array = onnx.numpy_helper.to_array(tensor)
        with np.errstate(over="ignore"):
            return array.astype(np.float32) if array.dtype.name in FLOATS else np.asarray(array)
    except Exception as error:  # a damaged tensor fails in many ways
        raise ConfigError(
            f"{path}: tensor {tensor.name!r} cannot be read: {_first_line(error)}; export the model again"
        ) from error


def _dims(path: Path, info: onnx.ValueInfoProto) -> tuple[Dim, ...]:
    kind = info.type.tensor_type
    name = onnx.TensorProto.DataType.Name
    if not info.type.HasField("tensor_type") or kind.elem_type not in (
        onnx.TensorProto.FLOAT,
        onnx.TensorProto.DOUBLE,
        onnx.TensorProto.FLOAT16,
        onnx.TensorProto.BFLOAT16,
    ):
        found = name(kind.elem_type) if kind.elem_type in onnx.TensorProto.DataType.values() else "something else"
        raise ConfigError(f"{path}: input {info.name!r} is {found}; export the network with a float32 tensor as input")
    if not kind.HasField("shape"):
        raise ConfigError(f"{path}: input {info.name!r} has no shape; export with a fixed one")
    return tuple(
        int(dim.dim_value) if dim.HasField("dim_value") else _text(dim.dim_param) or "?" for dim in kind.shape.dim
    )


def _step(path: Path, node: onnx.NodeProto) -> Step:
    op = _text(node.op_type) if node.domain in ("", "ai.onnx") else f"{_text(node.domain)}.{_text(node.op_type)}"
    attributes: dict[str, Any] = {}
    for attribute in node.attribute:
        if attribute.type in (onnx.AttributeProto.GRAPH, onnx.AttributeProto.GRAPHS):
            attributes[_text(attribute.name)] = None  # control flow: refused by its operator
        elif attribute.type == onnx.AttributeProto.TENSOR:
            attributes[_text(attribute.name)] = array_of(path, attribute.t)
        else:
            attributes[_text(attribute.name)] = onnx.helper.get_attribute_value(attribute)
    inputs, outputs = (tuple(_text(name) for name in names) for names in (node.input, node.output))
    return Step(op, _text(node.name), inputs, outputs, attributes)


def _text(text: str | bytes) -> str:
    """A name; protobuf hands out bytes where it is not UTF-8, in a damaged file."""
    return text if isinstance(text, str) else text.decode("utf-8", "backslashreplace")


def _first_line(error: Exception) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
