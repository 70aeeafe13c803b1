"""Kernel calls of a float32 program (firmware/engine/float32): those of int8 without exponents."""

from __future__ import annotations

from bench.compiler import rows
from bench.compiler.calls import Emission, Operands, bias_argument, gate, layer, value, weights_argument, whole
from bench.compiler.differentiate import Call
from bench.compiler.fuse import ROWWISE
from bench.model.graph import INPUT, MaxPool, Node

NAMESPACE = "float32"
ELEMENT = "float"


class Float32:
    """C++ of each kernel call. `input_exponent`: of the int8 samples, which become floats first."""

    def __init__(self, emission: Emission, input_exponent: int) -> None:
        self._e = emission
        self._scale = 2.0**-input_exponent
        self._rule = "Accumulated" if emission.batch > 1 else "Immediate"

    def tables(self, _node: Node) -> list[str]:
        """float32 layers have none beside their weights."""
        return []

    def statement(self, call: Call, *, infer: bool) -> str:
        """One call, as a statement."""
        if call.kernel in ROWWISE:
            return self.rowwise(call, whole(self._e, call, infer=infer))
        made = getattr(self, f"_{call.kernel}")(call, infer)
        assert isinstance(made, str)
        return made

    def rowwise(self, call: Call, on: Operands) -> str:
        """A forward call whose rows can be made one at a time."""
        made = getattr(self, f"_{call.kernel}")(call, on)
        assert isinstance(made, str)
        return made

    def _rows(self, call: Call, infer: bool) -> str:
        return rows.statement(call, infer=infer)

    def _range(self, node: Node) -> str:
        activation = node.activation
        if isinstance(node.op, MaxPool) and node.inputs[0] != INPUT:
            activation = self._e.graph.node(node.inputs[0]).activation
        return {"linear": "kLinear", "relu": "kRelu", "relu6": "kRelu6"}[activation]

    def _load_sample(self, _call: Call, _infer: bool) -> str:
        height, width, channels = self._e.graph.input_shape
        return f"float32::widen_sample({height * width * channels}, sample, {self._scale!r}F, {value(INPUT)});"

    def _conv2d(self, call: Call, on: Operands) -> str:
        node = _node(call)
        patch = "" if call.kernel == "depthwise2d" else f"{on.scratch}, "
        kernel = call.kernel if call.kernel == "depthwise2d" else f"fast::{call.kernel}"
        return (
            f"float32::{kernel}({on.shape}, {on.maps['x']}, {self._weights(node)}, {self._bias(node)}, "
            f"{self._range(node)}, {patch}{on.maps['y']});"
        )

    _depthwise2d = _conv2d

    def _add(self, call: Call, on: Operands) -> str:
        maps = on.maps
        return f"float32::add({on.elements}, {maps['a']}, {maps['b']}, {self._range(_node(call))}, {maps['y']});"

    def _avg_pool(self, _call: Call, on: Operands) -> str:
        return f"float32::avg_pool({on.shape}, {on.maps['x']}, {on.maps['y']});"

    def _max_pool(self, _call: Call, on: Operands) -> str:
        return f"float32::max_pool({on.shape}, {on.maps['x']}, {on.maps['y']}, {on.maps.get('winners', 'nullptr')});"

    def _upsample(self, call: Call, _infer: bool) -> str:
        node = _node(call)
        return f"float32::upsample({layer(node)}::kShape, {value(call.reads['x'])}, {value(node.name)});"

    def _pack_gate(self, call: Call, _infer: bool) -> str:
        node = _node(call)
        bits = f"bits(arena, Arena::{call.writes['gate']})"
        return f"float32::pack_gate({node.size}, {value(call.reads['y'])}, {self._range(node)}, {bits});"

    def _slice_channels(self, call: Call, _infer: bool) -> str:
        node = _node(call)
        height, width, channels = self._e.graph.shape_of(node.inputs[0])
        return (
            f"float32::slice_channels({height * width}, {channels}, {self._e.rows(node)}, {value(call.reads['x'])}, "
            f"{value(call.writes['y'])});"
        )

    def _softmax_cross_entropy(self, call: Call, _infer: bool) -> str:
        arguments = f"{_node(call).size}, {value(call.reads['logits'])}, label, {value(call.writes['gradient'])}"
        return f"const float32::LossResult loss = float32::softmax_cross_entropy({arguments});"

    def _mean_squared_error(self, call: Call, _infer: bool) -> str:
        n, y, gradient = _node(call).size, value(call.reads["logits"]), value(call.writes["gradient"])
        if "target" in call.reads:
            kernel, target = "mean_squared_error", value(call.reads["target"])
        else:
            kernel, target = "mean_squared_error_label", "label"
        return f"const float32::LossResult loss = float32::{kernel}({n}, {y}, {target}, {gradient});"

    def _conv2d_input_gradient(self, call: Call, _infer: bool) -> str:
        node = _node(call)
        kernel = call.kernel if call.kernel.startswith("depthwise") else f"fast::{call.kernel}"
        return (
            f"float32::{kernel}({layer(node)}::kShape, {value(call.reads['gy'])}, {self._weights(node)}, "
            f"{gate(call)}, {value(call.writes['gx'])});"
        )

    _depthwise2d_input_gradient = _conv2d_input_gradient

    def _avg_pool_gradient(self, call: Call, _infer: bool) -> str:
        winners = f"bits(arena, Arena::{call.reads['winners']}), " if "winners" in call.reads else ""
        return (
            f"float32::{call.kernel}({layer(_node(call))}::kShape, {value(call.reads['gy'])}, {winners}{gate(call)}, "
            f"{value(call.writes['gx'])});"
        )

    _max_pool_gradient = _avg_pool_gradient
    _upsample_gradient = _avg_pool_gradient

    def _add_gradients(self, call: Call, _infer: bool) -> str:
        a, b = value(call.reads["a"]), value(call.reads["b"])
        return f"float32::add_gradients({_node(call).size}, {a}, {b}, {gate(call)}, {value(call.writes['gx'])});"

    def _gate_gradient(self, call: Call, _infer: bool) -> str:
        gy = value(call.reads["gy"])
        return f"float32::gate_gradient({_node(call).size}, {gy}, {gate(call)}, {value(call.writes['gx'])});"

    def _update_bias(self, call: Call, _infer: bool) -> str:
        node = _node(call)
        return (
            f"float32::update_bias<float32::{self._rule}>(learning_rate, {value(call.reads['gy'])}, "
            f"{node.shape[0] * node.shape[1]}, {node.shape[2]}, {self._target(node, 'bias')});"
        )

    def _conv2d_update(self, call: Call, _infer: bool) -> str:
        node = _node(call)
        kernel = call.kernel if call.kernel.startswith("depthwise") else f"fast::{call.kernel}"
        return (
            f"float32::{kernel}<float32::{self._rule}>(learning_rate, {layer(node)}::kShape, "
            f"{value(call.reads['gy'])}, {value(call.reads['x'])}, {self._e.x_channels(node)}, "
            f"{self._target(node, 'weight')}, {self._e.rows(node)});"
        )

    _depthwise2d_update = _conv2d_update

    def fold(self) -> list[str]:
        """Statements at the end of a batch."""
        return [
            f"float32::fold(learning_rate, {tensor.size}, at(params, Params::{tensor.name.replace('.', '_')}), "
            f"at(params, Params::{tensor.name.replace('.', '_')}_gradient));"
            for tensor in self._e.layout.tensors
            if tensor.kind in ("weight", "bias")
        ]

    def _weights(self, node: Node) -> str:
        return weights_argument(self._e, node, ELEMENT)

    def _bias(self, node: Node) -> str:
        return bias_argument(self._e, node).replace("words(", "at(")

    def _target(self, node: Node, what: str) -> str:
        """What an update writes: the parameters, or their gradients' sums."""
        suffix = "_gradient" if self._e.batch > 1 else ""
        return f"at(params, Params::{node.name}_{what}{suffix})"


def _node(call: Call) -> Node:
    assert call.node is not None
    return call.node
