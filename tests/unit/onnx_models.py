"""Small ONNX models for tests, and what ONNX's own reference implementation computes for them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from bench.model.evaluate import forward
from bench.model.graph import Graph
from bench.model.onnx_import import load_onnx

Array = NDArray[Any]
Dims = Sequence[int | str | None]


def node(op: str, inputs: str, outputs: str, **attributes: Any) -> onnx.NodeProto:
    """Names separated by blanks; the node is called n_ and its output. `_` is an absent input."""
    names = ["" if name == "_" else name for name in inputs.split()]
    return helper.make_node(op, names, outputs.split(), name=f"n_{outputs.split()[0]}", **attributes)


def weights(seed: int = 0, /, **shapes: tuple[int, ...]) -> dict[str, Array]:
    """Random float32 arrays by name."""
    draw = np.random.default_rng(seed)
    return {name: draw.normal(0, 0.5, shape).astype(np.float32) for name, shape in shapes.items()}


def normalisation(prefix: str, channels: int, seed: int = 3) -> dict[str, Array]:
    """Parameters of a batch normalisation: PREFIXs, PREFIXb, PREFIXm, PREFIXv."""
    draw = np.random.default_rng(seed)
    limits = {"s": (0.5, 2.0), "b": (-1.0, 1.0), "m": (-1.0, 1.0), "v": (0.5, 2.0)}
    return {f"{prefix}{key}": draw.uniform(*limit, channels).astype(np.float32) for key, limit in limits.items()}


def model(
    nodes: Sequence[onnx.NodeProto],
    parameters: Mapping[str, Array] | None = None,
    dims: Dims = (1, 3, 8, 8),
    opset: int = 17,
    kind: int = TensorProto.FLOAT,
) -> onnx.ModelProto:
    """Input x; the output is the last node's."""
    graph = helper.make_graph(
        list(nodes),
        "test",
        [helper.make_tensor_value_info("x", kind, list(dims))],
        [helper.make_tensor_value_info(nodes[-1].output[0], TensorProto.FLOAT, None)],
        [numpy_helper.from_array(value, name) for name, value in (parameters or {}).items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def save(folder: Path, proto: onnx.ModelProto) -> Path:
    """A file with the model."""
    path = folder / "net.onnx"
    path.write_bytes(proto.SerializeToString())
    return path


def channels_last(x: Array) -> Array:
    """[n, c, h, w], [n, c, w] or [n, c] as [n, h, w, c]."""
    x = x[:, :, None, :] if x.ndim == 3 else x.reshape(*x.shape, *[1] * (4 - x.ndim))
    return x.transpose(0, 2, 3, 1)


def check(
    folder: Path,
    nodes: Sequence[onnx.NodeProto],
    parameters: Mapping[str, Array] | None = None,
    dims: Dims = (1, 3, 8, 8),
    opset: int = 17,
    *,
    keep_layout: bool = False,
    **settings: Any,
) -> Graph:
    """Imports a model and compares its output on random samples with the reference's.

    `keep_layout`: the model's input and output are [n, h, w, c], or flat, already.
    """
    proto = model(nodes, parameters, dims, opset)
    graph = load_onnx(save(folder, proto), **{"loss": "mean_squared_error", **settings})
    batch = dims[0] if isinstance(dims[0], int) else 1
    fixed = [size if isinstance(size, int) else 4 for size in dims[1:]]
    x = np.random.default_rng(7).normal(0, 2, (batch, *fixed)).astype(np.float32)
    wanted = np.asarray(ReferenceEvaluator(proto).run(None, {"x": x})[0])
    samples, result = (x, wanted) if keep_layout else (channels_last(x), channels_last(wanted))
    found = forward(graph, samples.reshape(batch, *graph.input_shape))[graph.nodes[-1].name]
    np.testing.assert_allclose(found.ravel(), result.ravel(), rtol=1e-4, atol=1e-4)
    return graph
