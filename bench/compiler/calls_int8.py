"""Kernel calls of an int8 program: each kernel's argument list with its exponents (firmware/engine/int8)."""

from __future__ import annotations

from bench.compiler import rows
from bench.compiler.calls import Emission, Operands, bias_argument, gate, layer, scratch, value, weights_argument, whole
from bench.compiler.differentiate import Call
from bench.compiler.fuse import ROWWISE
from bench.compiler.layout import input_exponent
from bench.compiler.quantise import Exponents
from bench.model.graph import INPUT, MaxPool, Node
from bench.model.plan import Rule

NAMESPACE = "int8"
ELEMENT = "int8_t"


class Int8:
    """C++ of each kernel call. `rule` is the update rule's name in the engine."""

    def __init__(self, emission: Emission, exponents: Exponents, rule: Rule) -> None:
        self._e = emission
        self._x = exponents
        self._rule = "Accumulated" if emission.batch > 1 else rule.capitalize()

    # --- exponents ---

    def exponent(self, name: str) -> int:
        """Of a node's stored output, of INPUT, or of logits."""
        if name == INPUT:
            return self._x.input
        if name in self._x.outputs:
            return self._x.outputs[name]
        if name == f"wide_{self._e.graph.nodes[-1].name}":
            return self._x.outputs[self._e.graph.nodes[-1].name]
        node = self._e.graph.node(name)
        return input_exponent(self._x, node) + self._x.weights[name].exponent

    def range(self, node: Node) -> str:
        """Of the stored output of an activation; a max-pool's is that of what it looks at."""
        return self._range(node, self._activation(node))

    def _activation(self, node: Node) -> str:
        if isinstance(node.op, MaxPool) and node.inputs[0] != INPUT:
            return self._e.graph.node(node.inputs[0]).activation
        return node.activation

    def _range(self, node: Node, activation: str) -> str:
        if activation == "relu6":
            return f"{{0, {min(127, round(6 * 2.0 ** self.exponent(node.name)))}}}"
        return "{0, 127}" if activation == "relu" else "{-128, 127}"

    def tables(self, node: Node) -> list[str]:
        """Declarations of a layer's exponents."""
        if not node.is_conv:
            return []
        weights = self._x.weights[node.name]
        lines = [
            f"static constexpr int32_t kExponent = {weights.exponent};  // of weights; channel o's is less by kLift[o]"
        ]
        channels = node.shape[2]
        lines.append(f"static constexpr int8_t kLift[{channels}] = {{{_list(weights.lift)}}};")
        if node.name in self._x.outputs:
            shift = input_exponent(self._x, node) + weights.exponent - self._x.outputs[node.name]
            lines.append(
                f"static constexpr int8_t kShifts[{channels}] = {{{_list([shift - lift for lift in weights.lift])}}};"
            )
            lines.append(f"static constexpr int8::Range kRange{self.range(node)};")
        return lines

    # --- calls ---

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

    def _load_sample(self, _call: Call, _infer: bool) -> str:
        return f"std::memcpy({value(INPUT)}, sample, kSampleBytes);"

    def _conv2d(self, call: Call, on: Operands) -> str:
        node = _node(call)
        return (
            f"int8::fast::{call.kernel}<{layer(node)}, {self._e.rows(node)}>({on.shape}, {on.maps['x']}, "
            f"{self._weights(node)}, {self._bias(node)}, {on.scratch}, {on.maps['y']});"
        )

    _depthwise2d = _conv2d

    def _conv2d_logits(self, call: Call, _infer: bool) -> str:
        node = _node(call)
        return (
            f"int8::conv2d_logits({layer(node)}::kShape, {value(call.reads['x'])}, {self._weights(node)}, "
            f"{self._bias(node)}, {scratch(self._e, call)}, words(arena, Arena::{node.name}));"
        )

    def _add(self, call: Call, on: Operands) -> str:
        node = _node(call)
        a, b, y = (self.exponent(name) for name in (call.reads["a"], call.reads["b"], node.name))
        finest = max(a, b, y)
        scale_and_range = f"{finest - a}, {finest - b}, {finest - y}, {self.range(node).strip('{}')}"
        return f"int8::fast::add<{scale_and_range}>({on.elements}, {on.maps['a']}, {on.maps['b']}, {on.maps['y']});"

    def _avg_pool(self, call: Call, on: Operands) -> str:
        lift = self.exponent(_node(call).name) - self.exponent(call.reads["x"])
        return f"int8::avg_pool({on.shape}, {on.maps['x']}, {lift}, {on.maps['y']});"

    def _max_pool(self, _call: Call, on: Operands) -> str:
        return f"int8::max_pool({on.shape}, {on.maps['x']}, {on.maps['y']}, {on.maps.get('winners', 'nullptr')});"

    def _upsample(self, call: Call, _infer: bool) -> str:
        node = _node(call)
        return f"int8::upsample({layer(node)}::kShape, {value(call.reads['x'])}, {value(node.name)});"

    def _pack_gate(self, call: Call, _infer: bool) -> str:
        node = _node(call)
        bits = f"bits(arena, Arena::{call.writes['gate']})"
        return f"int8::fast::pack_gate({node.size}, {value(call.reads['y'])}, {self.range(node)}, {bits});"

    def _slice_channels(self, call: Call, _infer: bool) -> str:
        node = _node(call)
        height, width, channels = self._e.graph.shape_of(node.inputs[0])
        return (
            f"int8::slice_channels({height * width}, {channels}, {self._e.rows(node)}, {value(call.reads['x'])}, "
            f"{value(call.writes['y'])});"
        )

    def _widen(self, call: Call, _infer: bool) -> str:
        return f"int8::widen({_node(call).size}, {value(call.reads['x'])}, words(arena, Arena::{call.writes['y']}));"

    def _softmax_cross_entropy(self, call: Call, infer: bool) -> str:
        node, logits = _node(call), call.reads["logits"]
        return (
            f"const int8::LossResult loss = int8::softmax_cross_entropy({node.size}, words(arena, Arena::{logits}), "
            f"{self.exponent(logits)}, label, counts(arena, Arena::{logits}), {self._loss_gradient(call, infer)});"
            + self._loss_exponent(call, infer)
        )

    def _mean_squared_error(self, call: Call, infer: bool) -> str:
        node, logits = _node(call), call.reads["logits"]
        gradient = self._loss_gradient(call, infer)
        start = f"words(arena, Arena::{logits}), {self.exponent(logits)}"
        kernel, wanted = "mean_squared_error_label", "label"
        if "target" in call.reads:
            kernel, wanted = "mean_squared_error", f"{value(call.reads['target'])}, {self._x.input}"
        return (
            f"const int8::LossResult loss = int8::{kernel}({node.size}, {start}, {wanted}, {gradient});"
            + self._loss_exponent(call, infer)
        )

    def _loss_gradient(self, call: Call, infer: bool) -> str:
        return "nullptr" if infer else value(call.writes["gradient"])

    def _loss_exponent(self, call: Call, infer: bool) -> str:
        if infer:
            return ""
        return f"\n[[maybe_unused]] const int32_t e_{call.writes['gradient']} = loss.gradient_exponent;"

    def _conv2d_input_gradient(self, call: Call, _infer: bool) -> str:
        node = _node(call)
        return (
            f"{self._written(call)} = int8::fast::{call.kernel}<{layer(node)}, {self._e.rows(node)}, "
            f"{call.scratch}>(sgd, "
            f"{self._gy(call)}, {self._weights(node)}, {gate(call)}, {self._peak(call)}, {scratch(self._e, call)}, "
            f"{value(call.writes['gx'])});"
        )

    _depthwise2d_input_gradient = _conv2d_input_gradient

    def _avg_pool_gradient(self, call: Call, _infer: bool) -> str:
        return (
            f"{self._written(call)} = int8::fast::{call.kernel}<{layer(_node(call))}>(sgd, {self._gy(call)}, "
            f"{gate(call)}, {self._peak(call)}, {value(call.writes['gx'])});"
        )

    def _max_pool_gradient(self, call: Call, _infer: bool) -> str:
        winners = f"bits(arena, Arena::{call.reads['winners']}), " if "winners" in call.reads else ""
        return (
            f"{self._written(call)} = int8::{call.kernel}(sgd, {layer(_node(call))}::kShape, {self._gy(call)}, "
            f"{winners}{gate(call)}, {self._peak(call)}, {value(call.writes['gx'])});"
        )

    _upsample_gradient = _max_pool_gradient

    def _add_gradients(self, call: Call, _infer: bool) -> str:
        a, b = call.reads["a"], call.reads["b"]
        return (
            f"{self._written(call)} = int8::fast::add_gradients(sgd, {_node(call).size}, {value(a)}, e_{a}, "
            f"{value(b)}, e_{b}, {gate(call)}, {self._peak(call)}, {value(call.writes['gx'])});"
        )

    def _gate_gradient(self, call: Call, _infer: bool) -> str:
        gy = call.reads["gy"]
        return (
            f"{self._written(call)} = e_{gy};\n"
            f"int8::gate_gradient({_node(call).size}, {value(gy)}, {gate(call)}, {value(call.writes['gx'])});"
        )

    def _update_bias(self, call: Call, _infer: bool) -> str:
        node = _node(call)
        name = f"{node.name}_bias" + ("_residual" if self._e.batch > 1 else "")
        return (
            f"int8::fast::update_bias(sgd, {self._e.stream(call)}, {self._gy(call)}, {node.shape[0] * node.shape[1]}, "
            f"{node.shape[2]}, words(params, Params::{name}), {layer(node)}::kLift, "
            f"{input_exponent(self._x, node)} + {layer(node)}::kExponent + int8::kBiasBits);"
        )

    def _conv2d_update(self, call: Call, _infer: bool) -> str:
        node = _node(call)
        constants = (
            f"int8::{self._rule}, {layer(node)}, {self._e.rows(node)}, {self._e.x_channels(node)}, {call.scratch}"
        )
        return (
            f"int8::fast::{call.kernel}<{constants}>(sgd, {self._e.stream(call)}, {self._gy(call)}, "
            f"{value(call.reads['x'])}, {input_exponent(self._x, node)}, {self._trained_weights(node)}, "
            f"{scratch(self._e, call)});"
        )

    def _depthwise2d_update(self, call: Call, _infer: bool) -> str:
        node = _node(call)
        return (
            f"int8::{call.kernel}<int8::{self._rule}>(sgd, {self._e.stream(call)}, {layer(node)}::kShape, "
            f"{self._gy(call)}, {value(call.reads['x'])}, {input_exponent(self._x, node)}, "
            f"{self._e.x_channels(node)}, {self._trained_weights(node)});"
        )

    def fold(self) -> list[str]:
        """Statements at the end of a batch."""
        lines = []
        for tensor in self._e.layout.tensors:
            if tensor.kind != "residual":
                continue
            name = tensor.name.replace(".", "_")
            of = (tensor.of or "").replace(".", "_")
            if tensor.dtype == "int32":
                lines.append(
                    f"int8::fold_bias({tensor.size}, words(params, Params::{of}), words(params, Params::{name}));"
                )
            else:
                pending = f"halves(params, Params::{name})"
                lines.append(f"int8::fold_weights(sgd, {tensor.size}, at(params, Params::{of}), {pending});")
        return lines

    # --- arguments ---

    def _weights(self, node: Node) -> str:
        return weights_argument(self._e, node, ELEMENT)

    def _bias(self, node: Node) -> str:
        return bias_argument(self._e, node)

    def _trained_weights(self, node: Node) -> str:
        residual = f"Params::{node.name}_weight_residual"
        pointer = {
            "Compensated": f"at(params, {residual})",
            "Compensated4": f"bits(params, {residual})",
            "Accumulated": f"halves(params, {residual})",
            "Truncated": "nullptr",
        }[self._rule]
        return (
            f"int8::TrainedWeights<int8::{self._rule}>{{at(params, Params::{node.name}_weight), {pointer}, "
            f"{self._e.rows(node)}, {layer(node)}::kLift, {layer(node)}::kExponent}}"
        )

    def _gy(self, call: Call) -> str:
        return f"{value(call.reads['gy'])}, e_{call.reads['gy']}"

    def _written(self, call: Call) -> str:
        return f"[[maybe_unused]] const int32_t e_{call.writes['gx']}"

    def _peak(self, call: Call) -> str:
        return f"peaks + {self._e.layout.peaks[call.name]}" if call.peak else "nullptr"


def _node(call: Call) -> Node:
    assert call.node is not None
    return call.node


def _list(values: tuple[int, ...] | list[int]) -> str:
    return ", ".join(map(str, values))
