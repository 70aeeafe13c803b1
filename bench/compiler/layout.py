"""Where a program's parameters lie: what the server sends, what training keeps beside it, and state between steps.

    [ int32 biases | trained weights ][ residuals ][ state ]
      down                              up also     never leaves the board

Weights that do not train are constants in flash (`Tables`). The trained input channels of a convolution are split from
the frozen ones, so that RAM holds just what trains.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from bench.compiler.differentiate import NOTHING, Schedule, trained_rows
from bench.compiler.quantise import Exponents, WeightExponents
from bench.model import graph as g
from bench.model.graph import Graph, Node
from bench.model.plan import BIAS_BITS, RESIDUAL_BITS, Rule, Tensor

Array = NDArray[np.float32] | NDArray[np.int8] | NDArray[np.int32]

_WIDTH = {"int4": 1, "int8": 1, "int16": 2, "int32": 4, "uint32": 4, "float32": 4}


@dataclass(frozen=True)
class Layout:
    """Tensors of the parameters in order of address, and the constants in flash by name. Sizes in bytes.

    `initial` has the real value of every trained tensor, `peaks` the index of each call's word of state.
    """

    tensors: tuple[Tensor, ...]
    initial: Mapping[str, NDArray[np.float32]]
    tables: Mapping[str, Array]
    peaks: Mapping[str, int]
    down_bytes: int
    up_bytes: int
    params_bytes: int

    def tensor(self, name: str) -> Tensor | None:
        """A tensor by name, or None."""
        return next((tensor for tensor in self.tensors if tensor.name == name), None)


def lay_out(schedule: Schedule, exponents: Exponents | None, batch: int, rule: Rule) -> Layout:
    """Divides a schedule's parameters between RAM and flash.

    Args:
        schedule: which parameters train.
        exponents: None for float32.
        batch: samples whose gradients are accumulated before the weights move; 1 updates at once.
        rule: of int8 updates.
    """
    builder = _Builder(schedule, exponents)
    for node in schedule.graph.convs:
        builder.split(node)
    return builder.finish(batch, rule)


@dataclass
class _Builder:
    schedule: Schedule
    exponents: Exponents | None
    biases: list[Tensor] = field(default_factory=list)
    weights: list[Tensor] = field(default_factory=list)
    initial: dict[str, NDArray[np.float32]] = field(default_factory=dict)
    tables: dict[str, Array] = field(default_factory=dict)

    def split(self, node: Node) -> None:
        graph = self.schedule.graph
        trained = self.schedule.chosen.get(node.name, NOTHING)
        rows = trained_rows(graph, node, trained)
        assert node.weights is not None
        assert node.bias is not None
        depthwise = g.is_depthwise(graph, node)
        weights = node.weights.transpose(3, 1, 2, 0)[0] if depthwise else node.weights
        scale = None if self.exponents is None else self.exponents.weights[node.name]
        axis: Literal[0, -1] = -1 if depthwise else 0
        if rows:
            self._train(f"{node.name}.weight", "weight", weights[..., :rows], scale, axis)
        if rows < weights.shape[-1]:
            frozen = weights[..., rows:]
            lift = None if scale is None else scale.lift[rows:] if depthwise else scale.lift
            self.tables[f"{node.name}_weight"] = _stored(
                frozen, None if scale is None else scale.exponent, lift, axis, 8
            )
        bias_scale = None
        if self.exponents is not None and scale is not None:
            source = input_exponent(self.exponents, node)
            bias_scale = WeightExponents(source + scale.exponent + BIAS_BITS, scale.lift)
        if trained.bias:
            self._train(f"{node.name}.bias", "bias", node.bias, bias_scale, 0)
        else:
            exponent, lift = (None, None) if bias_scale is None else (bias_scale.exponent, bias_scale.lift)
            self.tables[f"{node.name}_bias"] = _stored(node.bias, exponent, lift, 0, 32)

    def _train(
        self,
        name: str,
        kind: Literal["weight", "bias"],
        values: NDArray[np.float32],
        scale: WeightExponents | None,
        axis: Literal[0, -1],
    ) -> None:
        dtype = "float32" if scale is None else "int8" if kind == "weight" else "int32"
        lift = () if scale is None else tuple(scale.lift[: values.shape[axis]])
        tensor = Tensor(
            name=name,
            kind=kind,
            shape=tuple(values.shape),
            dtype=dtype,  # type: ignore[arg-type]
            offset=0,
            exponent=0 if scale is None else scale.exponent,
            lift=lift if any(lift) else (),
            axis=axis,
        )
        (self.weights if kind == "weight" else self.biases).append(tensor)
        self.initial[name] = np.ascontiguousarray(values, dtype=np.float32)

    def finish(self, batch: int, rule: Rule) -> Layout:
        down = _addressed([*self.biases, *self.weights], 0)
        residuals = _addressed(self._residuals(batch, rule), _end(down))
        state = _addressed(self._state(batch), _aligned(_end(residuals, _end(down)), 4))
        tensors = (*down, *residuals, *state)
        peaks = [call.name for call in self.schedule.calls if call.peak and self.schedule.dtype == "int8"]
        return Layout(
            tensors=tensors,
            initial=self.initial,
            tables=self.tables,
            peaks={name: index for index, name in enumerate(peaks)},
            down_bytes=_end(down),
            up_bytes=_end(residuals, _end(down)),
            params_bytes=_aligned(_end(state, _end(residuals, _end(down))), 4),
        )

    def _residuals(self, batch: int, rule: Rule) -> list[Tensor]:
        """Of int8 weights: what is finer than a quantum. While a batch is gathered: all of its update."""
        if self.exponents is None or (rule == "truncated" and batch == 1):
            return []
        residuals = []
        if batch > 1:
            residuals += [_residual(tensor, "int32", 0) for tensor in self.biases]
        for tensor in self.weights:
            if batch > 1:
                residuals.append(_residual(tensor, "int16", RESIDUAL_BITS["compensated"]))
            else:
                residuals.append(_residual(tensor, "int4" if rule == "compensated4" else "int8", RESIDUAL_BITS[rule]))
        return residuals

    def _state(self, batch: int) -> list[Tensor]:
        state = []
        if self.exponents is not None:
            count = sum(call.peak for call in self.schedule.calls)
            if count:
                state.append(_words("gradient.peaks", count, "uint32"))
        elif batch > 1:
            trained = (*self.biases, *self.weights)
            state = [_words(f"{tensor.name}.gradient", tensor.size, "float32") for tensor in trained]
        if batch > 1:
            state.append(_words("batch.filled", 1, "uint32"))
        return state


def input_exponent(exponents: Exponents, node: Node) -> int:
    """Exponent of what a node reads first."""
    name = node.inputs[0]
    return exponents.input if name == g.INPUT else exponents.outputs[name]


def _residual(tensor: Tensor, dtype: Literal["int4", "int8", "int16", "int32"], bits: int) -> Tensor:
    return tensor.model_copy(
        update={
            "name": f"{tensor.name}.residual",
            "kind": "residual",
            "dtype": dtype,
            "exponent": tensor.exponent + bits,
            "of": tensor.name,
        }
    )


def _words(name: str, count: int, dtype: Literal["uint32", "float32"]) -> Tensor:
    return Tensor(name=name, kind="state", shape=(count,), dtype=dtype, offset=0)


def _addressed(tensors: list[Tensor], start: int) -> list[Tensor]:
    placed = []
    for tensor in tensors:
        start = _aligned(start, _WIDTH[tensor.dtype])
        placed.append(tensor.model_copy(update={"offset": start}))
        start += tensor.bytes
    return placed


def _end(tensors: list[Tensor], default: int = 0) -> int:
    return tensors[-1].offset + tensors[-1].bytes if tensors else default


def _aligned(offset: int, alignment: int) -> int:
    return -(-offset // alignment) * alignment


def _stored(
    values: NDArray[np.float32], exponent: int | None, lift: tuple[int, ...] | None, axis: int, bits: int
) -> Array:
    """As flash holds it: rounded to nearest, halves up, and clipped; float32 as it is."""
    if exponent is None or lift is None:
        return np.ascontiguousarray(values, dtype=np.float32)
    shape = [1] * values.ndim
    shape[axis] = -1
    scaled = np.ldexp(values.astype(np.float64), exponent - np.asarray(lift, dtype=np.int64).reshape(shape))
    largest = 2.0 ** (bits - 1) - 1 if bits == 8 else 2.0**29
    low = -largest - 1 if bits == 8 else -largest
    rounded = np.clip(np.floor(scaled + 0.5), low, largest)
    return rounded.astype(np.int8) if bits == 8 else rounded.astype(np.int32)


def merged(graph: Graph, values: Mapping[str, NDArray[np.float64]]) -> Graph:
    """The network with trained tensors (as `Plan.decode` gives them) put back into its weights."""
    nodes = []
    for node in graph.nodes:
        weights, bias = values.get(f"{node.name}.weight"), values.get(f"{node.name}.bias")
        if weights is not None and node.weights is not None:
            if g.is_depthwise(graph, node):
                weights = weights.transpose(2, 0, 1)[..., np.newaxis]
                whole = np.concatenate([weights, node.weights[len(weights) :]], axis=0)
            else:
                whole = np.concatenate([weights, node.weights[..., weights.shape[-1] :]], axis=-1)
            node = replace(node, weights=whole.astype(np.float32))
        if bias is not None:
            node = replace(node, bias=bias.astype(np.float32))
        nodes.append(node)
    return replace(graph, nodes=tuple(nodes))
