"""Reverse-mode differentiation at compile time: the kernel calls of one training step, and the values between them.

A node needs a gradient if it trains, or if anything before it does; the rest is pruned: no gradient is computed and no
activation saved that no trained parameter asks for. What crosses from forward to backward is
  * the input map of a convolution whose weights train, or only the channels of it that do ("saved"),
  * one bit for each element behind a ReLU ("gate"), and who won under each window of a max-pool ("winners").
The gradient of a node is that of its output before the activation: the gate is applied by the kernel that writes it.
A ReLU in front of a max-pool is gated behind the pool, where a quarter of the bits do: what won under a window
passed the ReLU if and only if the pool's output did.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from bench.compiler.scheme import Chosen, Trained
from bench.model import graph as g
from bench.model.graph import INPUT, Graph, Node

Dtype = Literal["int8", "float32"]
Kind = Literal["input", "activation", "saved", "gate", "winners", "logits", "gradient"]
_PACKED_BYTES = 1024
NOTHING = Trained(bias=False, in_channels=0)


@dataclass(frozen=True)
class Value:
    """Something that lies in the arena for a while. `elements` of a gate are bits."""

    name: str
    kind: Kind
    elements: int
    bytes: int


@dataclass(frozen=True)
class Call:
    """One kernel call.

    `reads` and `writes` give each value's role in the kernel's argument list. `in_place` pairs a written with a read
    role that may share memory. `peak`: the call finds its own scale and keeps a word of state between steps.
    `forward` calls are what inference consists of, unless `training` says that only a training step needs them.

    A fused call (fuse.py) has `stages`, the calls that it is made of, and `windows`: the maps between them, and for
    each the bytes of the rows that exist at once, which are part of `scratch`. `overlay` (written, read, lead): the
    written map may lie over the read one, `lead` bytes below its start.
    """

    name: str
    kernel: str
    node: Node | None
    reads: Mapping[str, str]
    writes: Mapping[str, str]
    forward: bool = False
    training: bool = False
    in_place: tuple[tuple[str, str], ...] = ()
    after: tuple[str, ...] = ()
    scratch: int = 0
    macs: int = 0
    peak: bool = False
    stages: tuple[Call, ...] = ()
    windows: Mapping[str, int] = field(default_factory=dict)
    overlay: tuple[str, str, int] | None = None

    @property
    def parts(self) -> tuple[Call, ...]:
        """The kernel calls of which it consists: itself, or its stages."""
        return self.stages or (self,)

    @property
    def layer(self) -> str:
        """The node that the call belongs to, for tables."""
        return self.node.name if self.node is not None else INPUT


@dataclass(frozen=True)
class Schedule:
    """A training step in an order that is legal, though not yet the best."""

    graph: Graph
    chosen: Chosen
    dtype: Dtype
    calls: tuple[Call, ...]
    values: Mapping[str, Value]

    @property
    def macs_forward(self) -> int:
        """Nominal multiply-accumulates of the forward pass."""
        return sum(call.macs for call in self.calls if call.forward)

    @property
    def macs_backward(self) -> int:
        """Nominal multiply-accumulates of input gradients and weight gradients."""
        return sum(call.macs for call in self.calls if not call.forward)


def differentiate(graph: Graph, chosen: Chosen, dtype: Dtype) -> Schedule:
    """The calls and values of a training step of `chosen` parameters."""
    builder = _Builder(graph, chosen, dtype)
    builder.forward()
    builder.loss()
    builder.backward()
    return Schedule(graph, chosen, dtype, tuple(builder.calls), builder.values)


def winner_bits(taps: int) -> int:
    """Bits that say which of a max-pool's taps won; as PoolShape::winner_bits."""
    return 2 if taps <= 4 else 4 if taps <= 16 else 8


def conv_scratch(graph: Graph, node: Node, trained: Trained, dtype: Dtype) -> int:
    """Bytes of scratch of a forward convolution with stored output.

    As firmware/engine/int8/fast/conv2d.hpp says: a window's bytes, start and shift of each channel, two columns of
    int16; where it takes the general kernel, as conv2d_scratch in firmware/engine/shapes.hpp. In float32 there are
    beside that four positions' values (firmware/engine/float32/fast/conv2d.hpp).
    """
    window = window_elements(graph, node)
    if dtype == "float32":
        blocks = node.conv.groups == 1 and node.shape[2] >= 4 and node.shape[0] * node.shape[1] >= 4
        return max(4 * window, _PACKED_BYTES if blocks else 0)
    op, inputs, outputs = node.conv, g.in_channels(graph, node), node.shape[2]
    k, rows = op.taps * inputs, trained_rows(graph, node, trained)
    one_part = rows in (0, inputs)
    fast = op.groups == 1 and outputs % 2 == 0 and outputs < 4096 and 2 <= k < 4096
    if not fast or not (one_part or (op.taps == 1 and window == 0)):
        return window
    columns = sum(_whole_words(part) for part in ((k,) if one_part else (rows, inputs - rows)))
    return _whole_words(window) + 6 * outputs + 4 * columns


def depthwise_scratch(node: Node, dtype: Dtype) -> int:
    """Bytes of scratch of a depthwise convolution: start and shift of each channel, the taps of a position."""
    return 5 * node.shape[2] + 8 * node.conv.taps if dtype == "int8" and node.shape[2] % 4 == 0 else 0


def window_elements(graph: Graph, node: Node) -> int:
    """Of a window that is gathered before it is multiplied; 0 where it is read in place."""
    height, width, channels = graph.shape_of(node.inputs[0])
    op = node.conv
    covers = op.kernel == (height, width) and op.pad == (0, 0) and node.shape[:2] == (1, 1)
    reads_directly = covers or (op.kernel == (1, 1) and op.pad == (0, 0))
    return 0 if reads_directly else op.taps * channels


def _whole_words(size: int) -> int:
    return -(-size // 4) * 4


def gradient_scratch(graph: Graph, node: Node, trained: Trained, dtype: Dtype) -> int:
    """Bytes of scratch of an input gradient; as firmware/engine/int8/fast says."""
    op = node.conv
    if dtype == "int8" and g.is_depthwise(graph, node):
        return 8 * op.taps + 4 * 32
    inputs, outputs = g.in_channels(graph, node), node.shape[2]
    in_width = graph.shape_of(node.inputs[0])[1]
    if dtype == "int8" and g.is_dense(graph, node):
        whole = trained_rows(graph, node, trained) in (0, inputs)
        return 2 * outputs + 4 * 32 if whole and outputs % 2 == 0 and op.taps * inputs % 8 == 0 else 0
    pointwise = op.taps == 1 and op.stride == (1, 1) and op.pad == (0, 0)
    filled = pointwise or 3 * node.shape[1] * op.stride[1] >= 2 * in_width
    blocks = node.shape[0] * node.shape[1] > 1 and filled
    fits = outputs % 2 == 0 and inputs % 2 == 0 and trained_rows(graph, node, trained) % 2 == 0
    if dtype != "int8" or op.groups != 1 or not blocks or not fits:
        return 0
    return 4 * (4 * min(inputs, 32) + 2 * outputs) + (0 if pointwise else outputs)


def update_scratch(graph: Graph, node: Node, trained: Trained, dtype: Dtype) -> int:
    """Bytes of scratch of a weight gradient; as firmware/engine/int8/fast/conv2d_update.hpp says."""
    positions, outputs = node.shape[0] * node.shape[1], node.shape[2]
    columns = node.conv.taps * trained_rows(graph, node, trained)
    if dtype != "int8" or node.conv.groups != 1 or positions <= 2 or outputs % 2 != 0 or columns < 4:
        return 0
    return 4 * (4 * min(outputs, 32) + 2 * min(positions, 64))


def trained_rows(graph: Graph, node: Node, trained: Trained) -> int:
    """Trained weights for each output channel and tap of a convolution; of a depthwise one, trained channels."""
    if g.is_depthwise(graph, node):
        return min(trained.in_channels, node.shape[2])
    return min(trained.in_channels, g.in_channels(graph, node) // node.conv.groups)


@dataclass
class _Builder:
    graph: Graph
    chosen: Chosen
    dtype: Dtype
    calls: list[Call] = field(default_factory=list)
    values: dict[str, Value] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.consumers = self.graph.consumers()
        inputs = [name for node in self.graph.nodes for name in node.inputs]
        self.reads = {name: inputs.count(name) for name in self.consumers}  # a sum may read one map twice
        self.needs: dict[str, bool] = {INPUT: False}
        for node in self.graph.nodes:
            trained = self.trained(node)
            own = trained.bias or trained.in_channels > 0
            self.needs[node.name] = own or any(self.needs[name] for name in node.inputs)
        self.gradients: dict[str, str] = {}
        self.partial: dict[str, list[str]] = {node.name: [] for node in self.graph.nodes}

    # --- what is asked of a node ---

    def trained(self, node: Node) -> Trained:
        return self.chosen.get(node.name, NOTHING)

    def gate_range(self, node: Node) -> str | None:
        """The activation that gates a node's gradient, or None: its own, or that of what its max-pool looks at."""
        if not self.needs[node.name]:
            return None
        if isinstance(node.op, g.MaxPool) and node.inputs[0] != INPUT:
            source = self.graph.node(node.inputs[0])
            if self.gated_behind(source):
                return source.activation
        if node.activation == "linear" or self.gated_behind(node):
            return None
        return node.activation

    def gated_behind(self, node: Node) -> bool:
        """The one consumer is a max-pool, which does the gating."""
        consumers = self.consumers[node.name]
        return node.activation != "linear" and len(consumers) == 1 and isinstance(consumers[0].op, g.MaxPool)

    # --- building blocks ---

    def value(self, name: str, kind: Kind, elements: int) -> str:
        width = {"gate": 0, "winners": 1, "logits": 4}.get(kind, 1 if self.dtype == "int8" else 4)
        size = (elements + 7) // 8 if kind == "gate" else elements * width
        self.values[name] = Value(name, kind, elements, size)
        return name

    def call(
        self, kernel: str, node: Node | None, reads: dict[str, str], writes: dict[str, str], **more: object
    ) -> str:
        owner = node.name if node is not None else INPUT
        name = f"{kernel}:{owner}"
        while any(call.name == name for call in self.calls):
            name += "'"
        self.calls.append(Call(name, kernel, node, reads, writes, **more))  # type: ignore[arg-type]
        return name

    # --- forward ---

    def forward(self) -> None:
        height, width, channels = self.graph.input_shape
        self.value(INPUT, "input", height * width * channels)
        self.call("load_sample", None, {}, {"y": INPUT}, forward=True)
        for node in self.graph.nodes:
            self._compute(node)
            activation = self.gate_range(node)
            if activation is not None:
                gate = self.value(f"gate_{node.name}", "gate", node.size)
                self.call("pack_gate", node, {"y": node.name}, {"gate": gate}, forward=True, training=True)

    def _compute(self, node: Node) -> None:
        if g.gives_sums(self.graph, node):
            self.value(node.name, "logits", node.size)
            kernel = "conv2d_logits" if self.dtype == "int8" else "conv2d"
        else:
            self.value(node.name, "activation", node.size)
            kernel = _FORWARD[type(node.op)]
            if node.is_conv and g.is_depthwise(self.graph, node):
                kernel = "depthwise2d"
        reads = dict(zip("ab" if isinstance(node.op, g.Add) else "x", node.inputs, strict=True))
        writes = {"y": node.name}
        in_place: tuple[tuple[str, str], ...] = ()
        if isinstance(node.op, g.Add):
            in_place = (("y", "a"), ("y", "b"))
        if isinstance(node.op, g.MaxPool):
            if self.needs[node.name]:
                bits = node.size * winner_bits(node.op.taps)
                writes["winners"] = self.value(f"winners_{node.name}", "winners", (bits + 7) // 8)
            if node.op.pad == (0, 0):
                in_place = (("y", "x"),)
        scratch = 0
        if kernel.startswith("conv2d"):
            scratch = conv_scratch(self.graph, node, self.trained(node), self.dtype)
            if kernel == "conv2d_logits":
                scratch = window_elements(self.graph, node)
        if kernel == "depthwise2d":
            scratch = depthwise_scratch(node, self.dtype)
        self.call(
            kernel, node, reads, writes, forward=True, in_place=in_place, scratch=scratch, macs=g.macs(self.graph, node)
        )
        self._keep_inputs(node)

    def _keep_inputs(self, node: Node) -> None:
        """Saves only those channels of a convolution's input that its weight gradient will read."""
        if not node.is_conv:
            return
        rows, channels = trained_rows(self.graph, node, self.trained(node)), g.in_channels(self.graph, node)
        if rows == 0 or rows == channels or (node.conv.groups > 1 and not g.is_depthwise(self.graph, node)):
            return
        height, width, _ = self.graph.shape_of(node.inputs[0])
        saved = self.value(f"saved_{node.name}", "saved", height * width * rows)
        self.call(
            "slice_channels",
            node,
            {"x": node.inputs[0]},
            {"y": saved},
            forward=True,
            training=True,
            in_place=(("y", "x"),),
        )

    # --- loss ---

    def loss(self) -> None:
        """The loss reads logits of 32 bits; its gradient is what backward begins with."""
        last = self.graph.nodes[-1]
        logits = last.name
        if self.dtype == "int8" and not g.gives_sums(self.graph, last):
            logits = self.value(f"wide_{last.name}", "logits", last.size)
            self.call("widen", last, {"x": last.name}, {"y": logits}, forward=True)
        reads = {"logits": logits}
        if self.graph.reconstructs:
            reads["target"] = INPUT
        gradient = self.value(f"d_{last.name}", "gradient", last.size)
        in_place = (("gradient", "logits"),) if self.dtype == "float32" else ()
        self.call(self.graph.loss, last, reads, {"gradient": gradient}, forward=True, in_place=in_place)
        if self.gate_range(last) is not None:
            gradient = self._gated(last, gradient)
        self.gradients[last.name] = gradient

    # --- backward ---

    def backward(self) -> None:
        for node in reversed(self.graph.nodes):
            if not self.needs[node.name]:
                continue
            if node.name not in self.gradients:
                self._join(node)
            self._differentiate(node, self.gradients[node.name])

    def _differentiate(self, node: Node, gradient: str) -> None:
        if isinstance(node.op, g.Add):
            for source in node.inputs:
                if self.needs[source]:
                    self._pass_on(self.graph.node(source), gradient)
            return
        source = node.inputs[0]
        before = None
        if self.needs[source]:
            before = self._input_gradient(node, self.graph.node(source), gradient)
        if node.is_conv:
            self._updates(node, gradient, () if before is None else (before,))

    def _updates(self, node: Node, gradient: str, after: tuple[str, ...]) -> None:
        trained = self.trained(node)
        if trained.bias:
            self.call("update_bias", node, {"gy": gradient}, {})
        rows = trained_rows(self.graph, node, trained)
        if rows == 0:
            return
        saved = f"saved_{node.name}"
        source = saved if saved in self.values else node.inputs[0]
        depthwise = g.is_depthwise(self.graph, node)
        positions = node.shape[0] * node.shape[1]
        per_position = node.conv.taps * rows * (1 if depthwise else node.shape[2])
        self.call(
            "depthwise2d_update" if depthwise else "conv2d_update",
            node,
            {"gy": gradient, "x": source},
            {},
            after=after,
            scratch=0 if depthwise else update_scratch(self.graph, node, trained, self.dtype),
            macs=positions * per_position,
        )

    def _input_gradient(self, node: Node, source: Node, gradient: str) -> str:
        kernel = _BACKWARD[type(node.op)]
        if node.is_conv and g.is_depthwise(self.graph, node):
            kernel = "depthwise2d_input_gradient"
        reads = {"gy": gradient}
        if isinstance(node.op, g.MaxPool):
            reads["winners"] = f"winners_{node.name}"
        gate = self.gate_range(source)
        if self.reads[source.name] == 1:
            target = self.value(f"d_{source.name}", "gradient", source.size)
            if gate is not None:
                reads["gate"] = f"gate_{source.name}"
            self.gradients[source.name] = target
        else:
            target = self.value(f"d_{source.name}_from_{node.name}", "gradient", source.size)
            self.partial[source.name].append(target)
        scaled = not (isinstance(node.op, g.MaxPool) and not _overlaps(node.op))
        scratch = 0
        if node.is_conv:
            scratch = gradient_scratch(self.graph, node, self.trained(node), self.dtype)
        return self.call(
            kernel, node, reads, {"gx": target}, scratch=scratch, macs=g.macs(self.graph, node), peak=scaled
        )

    def _pass_on(self, source: Node, gradient: str) -> None:
        """A sum's gradient is that of each of its terms: no kernel, unless an activation gates it."""
        if self.reads[source.name] > 1:
            self.partial[source.name].append(gradient)
        elif self.gate_range(source) is not None:
            self.gradients[source.name] = self._gated(source, gradient)
        else:
            self.gradients[source.name] = gradient

    def _gated(self, node: Node, gradient: str) -> str:
        target = self.value(f"d_{node.name}_gated", "gradient", node.size)
        reads = {"gy": gradient, "gate": f"gate_{node.name}"}
        self.call("gate_gradient", node, reads, {"gx": target}, in_place=(("gx", "gy"),))
        return target

    def _join(self, node: Node) -> None:
        """Adds what the consumers of a map contribute to its gradient; the gate comes last."""
        parts = self.partial[node.name]
        total = parts[0]
        for index, part in enumerate(parts[1:], start=1):
            target = self.value(
                f"d_{node.name}" + ("" if index == len(parts) - 1 else f"_{index}"), "gradient", node.size
            )
            reads = {"a": total, "b": part}
            if index == len(parts) - 1 and self.gate_range(node) is not None:
                reads["gate"] = f"gate_{node.name}"
            self.call("add_gradients", node, reads, {"gx": target}, in_place=(("gx", "a"), ("gx", "b")), peak=True)
            total = target
        self.gradients[node.name] = total


def _overlaps(op: g.Window) -> bool:
    return op.stride[0] < op.kernel[0] or op.stride[1] < op.kernel[1]


_FORWARD = {g.Conv2d: "conv2d", g.MaxPool: "max_pool", g.AvgPool: "avg_pool", g.Add: "add", g.Upsample: "upsample"}
_BACKWARD = {
    g.Conv2d: "conv2d_input_gradient",
    g.MaxPool: "max_pool_gradient",
    g.AvgPool: "avg_pool_gradient",
    g.Upsample: "upsample_gradient",
}
